// Package vaultshell is the process around the vault: it drives vault.Step with
// frames, commands, ticks and the device's answers, and does the work that Step
// returns, in the order that ARCHITECTURE.md §3 demands.
//
// One goroutine owns the vault. Device operations run beside the write of the
// same step, but their results go to the vault only when that write is durable;
// messages and replies leave only then. While one change is on its way to the
// disk the changes of later steps gather and become durable together.
//
// It is crash-only. When the node goes away, the disk fails or the vault cannot
// go on, the shell stops with the reason and a supervisor starts it again from
// what is durable. The HSM's helper may go and come back.
//
// It is outside the boundary and decides nothing. It trusts neither the node nor
// the helper; it does hold the vault's memory, so that whoever owns this process
// owns the vault. Therefore Run starts it anew in a cage (docs/spec/isolation.md):
// the launcher that stays outside has no secret. Root on the host still wins.
package vaultshell
