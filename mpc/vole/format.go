package vole

import (
	"errors"
	"fmt"
	"io"
)

const redacted = "vole(redacted)"

var errNoMarshal = errors.New("a VOLE's state refuses to be encoded: it is secret")

// Format writes a placeholder, whatever the verb.
func (x Receiver) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText refuses.
func (x Receiver) MarshalText() ([]byte, error) { return nil, errNoMarshal }

// MarshalJSON refuses.
func (x Receiver) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalBinary refuses.
func (x Receiver) MarshalBinary() ([]byte, error) { return nil, errNoMarshal }

// GobEncode refuses.
func (x Receiver) GobEncode() ([]byte, error) { return nil, errNoMarshal }
