//go:build !coffer_planted

// Package planted names the one bug that a build of the vault has on purpose:
// none, unless the build tag coffer_planted and a bug's own tag are set. The
// simulation is built with each of them in turn and must find it; a vault that
// people run is never built so.
package planted

// Bug is the bug of this build.
const Bug = None
