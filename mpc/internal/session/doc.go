// Package session is what the sessions of every protocol share: the context and
// the session id, the header of a message, the echo hash, and the order of work
// on the messages of a round (docs/spec/session.md).
//
// It authenticates nothing and encrypts nothing: the caller hands it messages
// with their authenticated authors. It knows no protocol.
package session
