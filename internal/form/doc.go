// Package form reads the JSON that people write: strictly, and with errors that a
// person can act on. Every error names the line, the field and what is expected;
// an unknown field or value suggests the one that was probably meant; several
// errors are told at once.
//
// JSON is never signed, hashed or logged: internal/wire is. A form is read once,
// on the side of the person who wrote it, into the canonical thing.
package form
