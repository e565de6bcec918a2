package otext

import (
	"errors"
	"fmt"
	"io"
)

const redacted = "otext(redacted)"

var errNoMarshal = errors.New("OT extension output refuses to be encoded: it is secret")

// Format writes a placeholder, whatever the verb.
func (o ReceiverOutput) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText refuses.
func (o ReceiverOutput) MarshalText() ([]byte, error) { return nil, errNoMarshal }

// MarshalJSON refuses.
func (o ReceiverOutput) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalBinary refuses.
func (o ReceiverOutput) MarshalBinary() ([]byte, error) { return nil, errNoMarshal }

// GobEncode refuses.
func (o ReceiverOutput) GobEncode() ([]byte, error) { return nil, errNoMarshal }

// Format writes a placeholder, whatever the verb.
func (o SenderOutput) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText refuses.
func (o SenderOutput) MarshalText() ([]byte, error) { return nil, errNoMarshal }

// MarshalJSON refuses.
func (o SenderOutput) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalBinary refuses.
func (o SenderOutput) MarshalBinary() ([]byte, error) { return nil, errNoMarshal }

// GobEncode refuses.
func (o SenderOutput) GobEncode() ([]byte, error) { return nil, errNoMarshal }
