package keyfile

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// cardWord stands in a file where others name their algorithm. Cards hold P-256 keys.
const cardWord = "pkcs11"

// Card is a file that names a key on a smart card, and holds no secret.
type Card struct {
	Principal string
	Public    signature.PublicKey // P-256
	URI       pkcs11uri.URI       // with the library, the token, and the key's label as its object
}

// Write stores the name of the key in a new file, as Key.Write does. It returns an
// error for what Open would not read.
func (c *Card) Write(path string) error {
	if err := wire.CheckName(c.Principal); err != nil {
		return err
	}
	if _, err := parseCard(c.Principal, base64.RawURLEncoding.EncodeToString([]byte(c.Public.Key)), c.URI.String()); err != nil {
		return err
	}
	return writeNew(path, c.line())
}

// line is the content of the file.
func (c *Card) line() []byte {
	return fmt.Appendf(nil, "%s %s %s %s %s\n", magic, c.Principal, cardWord, base64.RawURLEncoding.EncodeToString([]byte(c.Public.Key)), c.URI)
}

func parseCard(principal, public, text string) (*Card, error) {
	point, err := base64.RawURLEncoding.Strict().DecodeString(public)
	if err != nil {
		return nil, errors.New("the card's public key is not base64url without padding")
	}
	key, err := signature.ParsePublicKey(signature.P256, point)
	if err != nil {
		return nil, err
	}
	u, err := pkcs11uri.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case u.String() != text:
		return nil, fmt.Errorf("the card's URI is not in its one form, want %s", u)
	case u.Module == "" || u.Object == "" || u.Token == "" && u.Serial == "" && u.Slot == nil:
		return nil, errors.New("the card's URI must name the key (object=LABEL), the card (token=LABEL or serial=NUMBER) and the library (?module-path=/path/to/library.so)")
	}
	return &Card{principal, key, u}, nil
}
