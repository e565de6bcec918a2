// Package config reads the one TOML file of a process: an unknown key is an
// error, and the environment variable COFFER_SECTION_KEY overrides a value.
//
// Each process has its Config type in its own package; this package knows none
// of them. It holds no secret: where a value is secret, the file names it by a
// URI (file:PATH or env:NAME), which Secret reads.
package config
