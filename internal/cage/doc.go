// Package cage takes from a process what it does not need: files, network, other
// processes, new programs, debuggers, core dumps, swap. It is specified in
// docs/spec/isolation.md.
//
// The order is forced by Go and cgo: Landlock binds the thread that asks for it and
// what that thread starts, so it is applied to one locked thread that then starts
// the program anew (Start, Reexec); the seccomp filter binds all threads at once
// (TSYNC), so it comes last, from inside (Vault, Helper).
//
// What a machine cannot do is no error: it is said in the report, and the caller
// says it loudly. What this does not do: keep root out, or who may load kernel
// modules or use CAP_SYS_PTRACE on this host; it makes no user namespace, since its
// creator may trace what runs in it. Other systems than Linux get no cage.
package cage
