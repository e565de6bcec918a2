// Package otext extends 128 base OTs to 416 correlated OTs in one message:
// SoftSpokenOT (Roy, eprint 2022/192) with k = 1, made non-interactive by
// Fiat–Shamir, as docs/spec/ot-extension.md writes it out byte for byte.
//
// Bob ends with choices β and columns t_j, Alice, who has Δ, with columns
// q_j = t_j ⊕ β_j·Δ.
//
// What it does NOT do: it does not hash the columns (package vole makes pads of
// them), and it does not make ErrCheck durable. After ErrCheck up to one bit of
// Δ may be known to Bob: the caller must quarantine him before anything else
// leaves, and must never use the same base OTs with him again. A dsid must never
// repeat under the same base OTs.
//
// Bob must not be trusted by Alice: the check covers every bit of U. It is not
// the check of KOS15 or DKLs18, whose proof was wrong.
package otext
