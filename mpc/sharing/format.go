package sharing

import (
	"errors"
	"fmt"
	"io"
)

const redacted = "sharing(redacted)"

var errNoMarshal = errors.New("a polynomial refuses to be encoded: it is secret")

// Format writes a placeholder, whatever the verb.
func (x Polynomial) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText refuses.
func (x Polynomial) MarshalText() ([]byte, error) { return nil, errNoMarshal }

// MarshalJSON refuses.
func (x Polynomial) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalBinary refuses.
func (x Polynomial) MarshalBinary() ([]byte, error) { return nil, errNoMarshal }

// GobEncode refuses.
func (x Polynomial) GobEncode() ([]byte, error) { return nil, errNoMarshal }
