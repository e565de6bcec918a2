package hsm_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

func TestErrorf(t *testing.T) {
	err := error(hsm.Errorf(hsm.ErrPIN, "ask the officer", "token %q: %w", "node", io.EOF))
	if err.Error() != `token "node": EOF` {
		t.Errorf("message is %q", err)
	}
	if !errors.Is(err, hsm.ErrPIN) || !errors.Is(err, io.EOF) || errors.Is(err, hsm.ErrLocked) {
		t.Error("kind or cause is lost")
	}
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || hinted.Hint() != "ask the officer" {
		t.Error("hint is lost")
	}
}

// brokenDevice answers an exchange with what it must not.
type brokenDevice struct {
	key    *ecdh.PrivateKey
	shared []byte
	err    error
}

func (d brokenDevice) SealKey(context.Context) (*ecdh.PublicKey, error) {
	return d.key.PublicKey(), nil
}
func (d brokenDevice) Exchange(context.Context, *ecdh.PublicKey) ([]byte, error) {
	return d.shared, d.err
}

func TestOpenWithBrokenDevice(t *testing.T) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := hsm.SealTo(key.PublicKey(), 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := hsm.Errorf(hsm.ErrUnavailable, "", "token removed")
	for _, tc := range []struct {
		name string
		d    brokenDevice
		want error
	}{
		{"short secret", brokenDevice{key: key, shared: make([]byte, 31)}, hsm.ErrDevice},
		{"no secret", brokenDevice{key: key}, hsm.ErrDevice},
		{"wrong secret", brokenDevice{key: key, shared: make([]byte, 32)}, hsm.ErrUnseal},
		{"device error", brokenDevice{key: key, err: gone}, gone},
	} {
		if got, err := hsm.OpenWith(t.Context(), tc.d, blob, nil); !errors.Is(err, tc.want) || got != nil {
			t.Errorf("%s: got %q, %v; want %v", tc.name, got, err, tc.want)
		}
	}
}

func FuzzDecodeBlob(f *testing.F) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	blob, err := hsm.SealTo(key.PublicKey(), 9, []byte("share"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := hsm.DecodeBlob(b)
		if err != nil {
			return
		}
		if got := d.Encode(); !bytes.Equal(got, b) {
			t.Fatalf("decoded %x, encoded %x", b, got)
		}
	})
}
