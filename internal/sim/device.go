package sim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault"
)

// Device is a deterministic HSM: RFC 6979 signatures under keys from the seed.
type Device struct {
	keys map[hsm.Role]*ecdsa.PrivateKey
	seal [32]byte
	seq  uint64
	// Down makes every operation fail.
	Down bool
	// Took is how long it says that an operation took, in microseconds.
	Took uint64
}

func newDevice(seed [32]byte) (*Device, error) {
	d := &Device{keys: map[hsm.Role]*ecdsa.PrivateKey{}}
	for _, role := range hsm.Roles() {
		raw := sha256.Sum256(append(seed[:], byte(role)))
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw[:])
		if err != nil {
			return nil, fmt.Errorf("couldn't make device key: %w", err)
		}
		d.keys[role] = k
	}
	d.seal = sha256.Sum256(append(seed[:], "seal"...))
	return d, nil
}

// Public returns a role's verification key.
func (d *Device) Public(role hsm.Role) signature.PublicKey {
	b, err := d.keys[role].PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return signature.PublicKey{Algorithm: signature.P256, Key: string(b)}
}

// Sign signs a statement.
func (d *Device) Sign(role hsm.Role, st signature.Statement) (signature.Signature, error) {
	digest := st.Digest()
	der, err := d.keys[role].Sign(nil, digest[:], hashOpts)
	if err != nil {
		return signature.Signature{}, err
	}
	return fromDER(der)
}

// Do runs one command.
func (d *Device) Do(c vault.DeviceCommand) vault.DeviceResult {
	res := vault.DeviceResult{ID: c.ID, Took: d.Took}
	if d.Down {
		res.Err = "the device was removed"
		return res
	}
	var err error
	switch c.Kind {
	case vault.DeviceSign:
		res.Signature, err = d.Sign(c.Role, c.Statement)
	case vault.DeviceSeal:
		d.seq++
		nonce := make([]byte, chacha20poly1305.NonceSizeX)
		binary.BigEndian.PutUint64(nonce, d.seq)
		aead, _ := chacha20poly1305.NewX(d.seal[:])
		res.Data = aead.Seal(nonce, nonce, c.Data, c.AAD)
	case vault.DeviceUnseal:
		aead, _ := chacha20poly1305.NewX(d.seal[:])
		if len(c.Data) < chacha20poly1305.NonceSizeX {
			res.Err = "blob too short"
			return res
		}
		n := chacha20poly1305.NonceSizeX
		res.Data, err = aead.Open(nil, c.Data[:n], c.Data[n:], c.AAD)
	}
	if err != nil {
		res.Err = err.Error()
	}
	return res
}

func fromDER(der []byte) (signature.Signature, error) {
	r, s, err := parseDER(der)
	if err != nil {
		return signature.Signature{}, err
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return signature.NormalizeP256(raw)
}

func parseDER(der []byte) (*big.Int, *big.Int, error) {
	var sig struct{ R, S *big.Int }
	if _, err := asn1Unmarshal(der, &sig); err != nil {
		return nil, nil, fmt.Errorf("couldn't parse the device's signature: %w", err)
	}
	return sig.R, sig.S, nil
}
