package backup

import (
	"bytes"
	"testing"

	"github.com/cofferhq/coffer/internal/wire"
)

// Reencode decodes a backup and encodes what it decoded.
func Reencode(b []byte) ([]byte, error) {
	h, err := decode(b)
	if err != nil {
		return nil, err
	}
	return h.associated().Var(h.body).Bytes(), nil
}

// Forgery is a backup of whatever a writer puts together.
type Forgery struct {
	Subject
	Epoch          uint64
	Digest         [32]byte
	Certificate    []byte
	Share, Chain   []byte
	OtherCheck     bool // the header commits to another file key
	SmallEphemeral bool // the ephemeral key is of small order
}

// Body is its plaintext.
func (g *Forgery) Body() []byte {
	return wire.NewWriter(bodyVersion).Var(g.Certificate).Fixed(g.Share).Fixed(g.Chain).Bytes()
}

func (g *Forgery) header() *header {
	return &header{Header: Header{Subject: g.Subject, Epoch: g.Epoch, Certificate: g.Digest}}
}

// Seal encrypts it as Seal does.
func (g *Forgery) Seal(t testing.TB, to Recipient) []byte {
	t.Helper()
	h := g.header()
	h.Recipients = []Recipient{to}
	if err := h.seal(g.Body(), bytes.NewReader(bytes.Repeat([]byte{7}, 88))); err != nil {
		t.Fatal(err)
	}
	if g.OtherCheck { // as if this recovery key had been given a file key of its own
		h.check[0] ^= 1
		secret := bytes.Repeat([]byte{7}, 32)
		if err := h.encrypt(secret, secret, g.Body()); err != nil {
			t.Fatal(err)
		}
	}
	if g.SmallEphemeral {
		h.ephemeral = [32]byte{}
	}
	return h.associated().Var(h.body).Bytes()
}

// ReencodeBody decodes a body beside the forgery's header.
func ReencodeBody(b []byte, g Forgery) ([]byte, error) {
	share, c, err := decodeBody(b, g.header())
	if err != nil {
		return nil, err
	}
	return encodeBody(share, c), nil
}
