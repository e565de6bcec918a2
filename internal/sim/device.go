package sim

import (
	"context"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault"
)

// Device is a deterministic HSM: RFC 6979 signatures under keys from the seed.
type Device struct {
	keys   map[hsm.Role]*ecdsa.PrivateKey
	seal   [32]byte
	seq    uint64
	epoch  uint64 // newest of the seal keys
	erased uint64 // those below are destroyed
	// Count is the device's counter.
	Count uint64
	// Down makes every operation fail.
	Down bool
	// Operator, when set, is asked before each use of a cold key; an error refuses it.
	Operator func(use []byte) error
	// Took is how long it says that an operation took, in microseconds.
	Took uint64
	// Approvals is how often it was asked to use its approval key.
	Approvals int

	// Attester, when set, gives evidence of the device (hsm.Evidence, encoded).
	Attester func(nonce, bind [32]byte) ([]byte, error)

	// HSM, when set, is a real device that does everything in this one's place.
	HSM hsm.HSM

	approvers *approvers
}

func newDevice(seed [32]byte) (*Device, error) {
	d := &Device{keys: map[hsm.Role]*ecdsa.PrivateKey{}, epoch: 1}
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
	if d.HSM != nil {
		k, err := d.HSM.Public(context.Background(), role)
		if err != nil {
			panic(err)
		}
		return k
	}
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
	if d.HSM != nil && (c.Kind != vault.DeviceAttest || d.Attester == nil) {
		if err = d.real(c, &res); err != nil {
			res.Err = err.Error()
			errors.As(err, &res.Kind)
		}
		return res
	}
	switch c.Kind {
	case vault.DeviceSign:
		if c.Role == hsm.RoleApproval {
			res.Signature, err = d.signApproved(c.Statement, c.Approvals)
			break
		}
		res.Signature, err = d.Sign(c.Role, c.Statement)
	case vault.DeviceSeal:
		res.Data, err = d.sealed(c)
	case vault.DeviceUnseal:
		res.Data, err = d.unsealed(c)
	case vault.DeviceEpoch:
		res.Epoch = d.epoch
	case vault.DeviceAdvance:
		d.epoch++
		res.Epoch = d.epoch
	case vault.DeviceErase:
		if c.Epoch > d.epoch {
			err = fmt.Errorf("seal epoch %d does not exist", c.Epoch)
		}
		d.erased = max(d.erased, c.Epoch)
	case vault.DeviceAttest:
		if d.Attester == nil {
			err = hsm.Errorf(hsm.ErrUnsupported, "", "this device gives no evidence of what it is")
			break
		}
		res.Data, err = d.Attester(c.Nonce, c.Bind)
	case vault.DeviceCounter:
		res.Counter = d.Count
	case vault.DeviceIncrement:
		d.Count++
		res.Counter = d.Count
	default:
		err = fmt.Errorf("unknown operation %d", c.Kind)
	}
	if err != nil {
		res.Err = err.Error()
		errors.As(err, &res.Kind)
	}
	return res
}

// sealer is the seal key of a class and epoch.
func (d *Device) sealer(class hsm.Class, epoch uint64) (cipher.AEAD, error) {
	if epoch < max(d.erased, 1) || epoch > d.epoch {
		return nil, fmt.Errorf("no seal key of epoch %d: there are %d to %d", epoch, max(d.erased, 1), d.epoch)
	}
	key := sha256.Sum256(append(binary.BigEndian.AppendUint64(d.seal[:], epoch), byte(class)))
	return chacha20poly1305.NewX(key[:])
}

// sealed is u8 class ‖ u64 epoch ‖ nonce ‖ ciphertext.
func (d *Device) sealed(c vault.DeviceCommand) ([]byte, error) {
	aead, err := d.sealer(c.Class, c.Epoch)
	if err != nil {
		return nil, err
	}
	d.seq++
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	binary.BigEndian.PutUint64(nonce, d.seq)
	head := binary.BigEndian.AppendUint64([]byte{byte(c.Class)}, c.Epoch)
	return aead.Seal(append(head, nonce...), nonce, c.Data, c.AAD), nil
}

func (d *Device) unsealed(c vault.DeviceCommand) ([]byte, error) {
	const head = 9
	n := head + chacha20poly1305.NonceSizeX
	if len(c.Data) < n {
		return nil, errors.New("blob too short")
	}
	if hsm.Class(c.Data[0]) == hsm.ClassCold && d.Operator != nil {
		if err := d.Operator(c.AAD); err != nil {
			return nil, err
		}
	}
	aead, err := d.sealer(hsm.Class(c.Data[0]), binary.BigEndian.Uint64(c.Data[1:head]))
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, c.Data[head:n], c.Data[n:], c.AAD)
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

// real has the real device do it.
func (d *Device) real(c vault.DeviceCommand, res *vault.DeviceResult) (err error) {
	ctx := context.Background()
	switch c.Kind {
	case vault.DeviceSign:
		res.Signature, err = d.HSM.Sign(ctx, c.Role, c.Statement, c.Approvals)
	case vault.DeviceSeal:
		res.Data, err = d.HSM.Seal(ctx, c.Class, c.Epoch, c.Data, c.AAD)
	case vault.DeviceUnseal:
		res.Data, err = d.HSM.Unseal(ctx, c.Data, c.AAD, nil)
	case vault.DeviceEpoch:
		res.Epoch, err = d.HSM.(hsm.Ratchet).SealEpoch(ctx)
	case vault.DeviceAdvance:
		res.Epoch, err = d.HSM.(hsm.Ratchet).Advance(ctx)
	case vault.DeviceErase:
		err = d.HSM.(hsm.Ratchet).Erase(ctx, c.Epoch)
	case vault.DeviceAttest:
		var e hsm.Evidence
		e, err = d.HSM.(hsm.Attester).Attest(ctx, c.Nonce, c.Bind)
		res.Data = e.Encode()
	default:
		err = fmt.Errorf("operation %d is not for a real device here", c.Kind)
	}
	return err
}
