// Package witness is an outside witness of logs, and the client that asks one: C2SP
// tlog-witness (docs/spec/witness.md). A witness cosigns a checkpoint only when it is
// proven to continue the last one that it cosigned, and remembers that durably before
// it answers. So two checkpoints with its cosignature are never of two histories.
//
// It reads no entries and judges none. It trusts nobody: neither the log, whose
// signature and proof it checks, nor who submits. What it must keep is its folder, with
// key and heads: a copy of the folder put back makes it sign a fork, and without the
// folder it is another witness.
package witness
