//go:build !linux

package cage

import "errors"

// Reexec fails: this system has no cage.
func Reexec([]string, []string, []Path, bool) error {
	return errors.New("couldn't confine this process: only Linux is supported")
}

// Reexeced is false: this system has no cage.
func Reexeced(*Report) bool { return false }

// Close does nothing here.
func Close(*Report) error { return nil }

// LockMemory does nothing here.
func LockMemory(r *Report) { r.weak("swap", "memory is not locked: only Linux is supported") }

// Privileges knows nothing here.
func Privileges(*Report) {}

// Helper does nothing here.
func Helper(_ bool, r *Report) { r.weak("seccomp", "off: only Linux is supported") }

// HelperFiles does nothing here.
func HelperFiles(r *Report) { r.weak("modes of files", "may be changed: only Linux is supported") }
