// Package sim runs whole clusters of real vaults in one process, from one seed.
//
// A World holds n vaults with a disk and a device each, and a network of frames
// that have not arrived yet. Nothing happens by itself: the test, or the
// simulation's scheduler, says which event comes next. The same seed gives the
// same trace.
//
// The vaults are internal/vault as it ships, with the real protocols; the
// devices sign and seal for real, with keys drawn from the seed. What the package
// replaces is only the shell: disk, network, clock.
package sim
