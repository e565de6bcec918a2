// Package audit is the vault's memory that others can check: an append-only
// Merkle log (RFC 6962 hashing, by golang.org/x/mod/sumdb/tlog), the entries
// that stand in it, the checkpoints that the vault's HSM signs over it, and the
// certificate with which a vault shows its peers that its Decision is in its
// log before any of them lets a final share go.
//
// The formats are specified in docs/spec/log.md and docs/spec/checkpoint.md;
// checkpoints have the text form of C2SP tlog-checkpoint, so that any client of
// C2SP signed notes reads them.
//
// What it does not do: it stores nothing (audit/logfile, outside the boundary,
// does), it draws no conclusion from an entry's body (internal/verify does),
// and it cannot by itself tell a log that was rolled back from one that never
// grew: that takes the checkpoints that peers hold (ARCHITECTURE §6). The host
// that keeps the entries is not trusted: whoever loads entries compares the
// root with one that was sealed or signed.
package audit
