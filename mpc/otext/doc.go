// Package otext extends the punctured trees of package pprf to 416 correlated OTs
// for each of n signatures, in one message: SoftSpokenOT (Roy, eprint 2022/192)
// with k = 4, made non-interactive by Fiat–Shamir, as docs/spec/ot-extension.md
// writes it out byte for byte.
//
// Bob ends with choices β and columns t_j, Alice, who has Δ, with columns
// q_j = t_j ⊕ β_j·Δ.
//
// What it does NOT do: it does not hash the columns (package vole makes pads of
// them), and it does not make ErrCheck durable. After ErrCheck four
// bits of Δ or more may be known to Bob: the caller must quarantine him before anything else
// leaves, and must never use the same trees with him again. A dsid must never
// repeat under the same trees.
//
// Bob must not be trusted by Alice: the check covers every bit of U. It is not
// the check of KOS15 or DKLs18, whose proof was wrong.
package otext
