// Package dev runs a whole cluster on this machine, for development and the demo:
// three vaults with an HSM helper and a node each, the coordinator with its
// broker, the risk engine, and a chain to send to.
//
// The processes are those of production, from the same binary, with the same
// configuration files; only one person holds everybody's keys. A cluster like
// this protects nothing.
//
// Every vault has another kind of device, as far as the machine has them: SoftHSM, an
// emulated TPM, software. Started by root, every vault has a user id of its own.
package dev
