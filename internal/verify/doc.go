// Package verify checks a cluster's whole history offline: given nothing but the
// genesis hash and copies of the vaults' log files, it says whether every
// signature came about as the rules of that moment demanded, and that every
// refusal was one.
//
// What each check means, and what cannot be checked from logs, stands in
// docs/spec/verification.md.
//
// Nobody is trusted: the copies come from the hosts that the vaults' HSMs were
// built to distrust. The keys come from the genesis, whose hash the caller knows
// from elsewhere; a Decision is not believed but decided again from the bytes
// that stand in it; a signature is checked by a verifier that is not ours.
//
// What it does not do: it asks no chain whether a transaction was mined, and it
// cannot see what was cut off the end of every copy at once.
package verify
