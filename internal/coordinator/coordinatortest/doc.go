// Package coordinatortest puts a simulated cluster of real vaults (internal/sim)
// behind what a coordinator needs, for tests of everything outside the boundary:
// commands are answered, vaults crash and come back, answers get lost.
//
// It is no part of the product.
package coordinatortest
