// Command demo runs Coffer's main job on this machine, with real processes, a
// real token for every vault and a real chain, and checks what comes out. It is
// started by `make demo`.
//
// It speaks to the cluster as anybody would: through the coordinator's API with
// package client. What it claims about vaults it reads from their signed logs,
// what it claims about money from the chain's node.
package main
