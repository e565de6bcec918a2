// Package vault is the trusted party of Coffer: the machine that holds a key
// share, reads the transaction, decides, writes down what it decided, and only
// then computes its part of a signature.
//
// Vault is a deterministic machine (ARCHITECTURE.md §3). Step takes one event
// and the injected randomness and returns the work that its shell must do:
// device operations, durable writes, and only then messages. It performs no
// I/O, reads no clock and starts no goroutine, so that a whole cluster of vaults
// runs in one process under simulation, and a run is repeated from its seed.
//
// The path of a signing request is sign.go, top to bottom:
//
//	Sign command → decide (who asked, what the bytes do, policy, versions)
//	→ reserve in the ledger, R0 → all R0 agree, R1 → ledgers of all agree,
//	Decision into the log, checkpoint signed by the HSM, R2 with the certificate
//	→ all certificates verify, final share authorised, final share.
//
// Nobody outside is trusted: not the coordinator, which brings commands; not the
// node, which keeps the disk; not the network; and no other vault beyond what
// its HSM signed.
//
// What it does not do yet stands in the README's status table.
package vault
