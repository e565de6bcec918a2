// Package logfile keeps a vault's log on disk: a folder with an append-only file
// of entries and the newest signed checkpoint in a file of its own, which is
// replaced as a whole. A copy of that folder is what an auditor takes along.
//
// The format is specified in docs/spec/log.md. It is outside the vault's
// boundary: the host may change every byte. The length and the checksum of an
// entry find a torn tail and a bad disk, not an attacker; what the entries are
// worth is for the checkpoint's signatures to say (internal/verify).
//
// What it does not do: it takes no lock (one node owns the folder), and it does
// not know which entries the vault counts as durable. The caller names that
// number when it opens the log, and what a crash left behind it is cut off.
package logfile
