// Package pprf makes 32 punctured trees of 16 leaves from 128 base OTs: Bob ends
// with all leaves of every tree, Alice with all but the one that four bits of Δ
// name. It is the all-but-one OT of SoftSpokenOT (Roy, eprint 2022/192), GGM trees
// of depth 4 with the check that makes it secure against a malicious Bob, as
// docs/spec/ot-extension.md writes it out byte for byte.
//
// What it does NOT do: it persists nothing, and has no encoding of its outputs. A
// Bob who cheats may guess bits of Δ and passes if he is right, so a failed check
// must end the pair setup: its Δ is thrown away.
//
// Bob must not be trusted by Alice: hence the check. Alice has no message here.
package pprf
