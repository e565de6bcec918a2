package mpctest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
)

// Field is a field of a message, and what a change of it on the way leads to.
type Field struct {
	Name string
	Len  int
	// Class is of the abort; Or is another that may come instead, as when a changed
	// byte of a point sometimes gives another point and sometimes none.
	Class, Or mpc.Class
	// Value is put into the field too, where a changed bit never makes another
	// value that is in form.
	Value []byte
}

// HeaderFields are those of the header (docs/spec/session.md), then more.
func HeaderFields(more ...Field) []Field {
	return append([]Field{
		{Name: "version", Len: 1, Class: mpc.Attributed},
		{Name: "protocol", Len: 1, Class: mpc.Benign},
		{Name: "round", Len: 1, Class: mpc.Benign},
		{Name: "session", Len: 32, Class: mpc.Benign},
		{Name: "epoch", Len: 8, Class: mpc.Benign},
		{Name: "from", Len: 2, Class: mpc.Attributed},
		{Name: "to", Len: 2, Class: mpc.Benign},
	}, more...)
}

// EchoFields are those of the header and the echo, then more.
func EchoFields(more ...Field) []Field {
	return HeaderFields(append([]Field{{Name: "echo", Len: 32, Class: mpc.Benign}}, more...)...)
}

// Attack changes a message field by field on its way: a bit at the start, in the
// middle and at the end of each, and its Value. The fields must be all of the
// message, in order: one that has no case is an error. run runs the protocol with
// the change made and returns the abort of the one who took the message, or nil if
// there was none; author is whom an attributed or quarantine abort must name, and
// nobody else.
func Attack(t *testing.T, message string, genuine []byte, fields []Field, author mpc.ID, run func(t *testing.T, change func([]byte) []byte) error) {
	t.Helper()
	total := 0
	for _, f := range fields {
		total += f.Len
	}
	if total != len(genuine) {
		t.Errorf("%s has %d bytes and its fields %d: a field has no case", message, len(genuine), total)
		return
	}
	at := 0
	for _, f := range fields {
		start := at
		at += f.Len
		try := func(how string, change func([]byte) []byte) {
			t.Run(fmt.Sprintf("%s/%s/%s", message, f.Name, how), func(t *testing.T) {
				err := run(t, change)
				a := mpc.AsAbort(err)
				if a == nil || a.Class != f.Class && (f.Or == 0 || a.Class != f.Or) {
					t.Errorf("got %v, want a %s abort", err, f.Class)
					return
				}
				if a.Class == mpc.Attributed || a.Class == mpc.Quarantine {
					WantAbort(t, err, a.Class, author)
				} else {
					WantAbort(t, err, a.Class)
				}
			})
		}
		for _, i := range slices.Compact([]int{start, start + f.Len/2, start + f.Len - 1}) {
			if f.Len > 0 {
				try(fmt.Sprint(i-start), func(b []byte) []byte { return Flip(b, i) })
			}
		}
		if f.Value != nil {
			try("another", func(b []byte) []byte { return Put(b, start, f.Value) })
		}
	}
}
