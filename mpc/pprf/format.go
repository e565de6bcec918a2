package pprf

import (
	"errors"
	"fmt"
	"io"
)

const redacted = "pprf(redacted)"

var errNoMarshal = errors.New("leaves of a punctured tree refuse to be encoded: they are secret")

// Format writes a placeholder, whatever the verb.
func (o Full) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText refuses.
func (o Full) MarshalText() ([]byte, error) { return nil, errNoMarshal }

// MarshalJSON refuses.
func (o Full) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalBinary refuses.
func (o Full) MarshalBinary() ([]byte, error) { return nil, errNoMarshal }

// GobEncode refuses.
func (o Full) GobEncode() ([]byte, error) { return nil, errNoMarshal }

// Format writes a placeholder, whatever the verb.
func (o Punctured) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText refuses.
func (o Punctured) MarshalText() ([]byte, error) { return nil, errNoMarshal }

// MarshalJSON refuses.
func (o Punctured) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalBinary refuses.
func (o Punctured) MarshalBinary() ([]byte, error) { return nil, errNoMarshal }

// GobEncode refuses.
func (o Punctured) GobEncode() ([]byte, error) { return nil, errNoMarshal }
