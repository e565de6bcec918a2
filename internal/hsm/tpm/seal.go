package tpm

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// operatorTime bounds an operator's answer, in seconds: the TPM itself takes no later one.
const operatorTime = 180

// openEpochs reads the newest epoch and compares it with the erase counter.
func (d *Device) openEpochs(m *maker) error {
	_, newest, err := m.dir.epochs()
	if err != nil {
		return err
	}
	if newest == 0 {
		return hsm.Errorf(hsm.ErrNotProvisioned, "provision the device", "no seal key is in %s", m.uri.Dir)
	}
	d.newest = newest
	if d.erased, err = readCounter(m.t, m.uri.index(nvErase), m.device.auth.Reveal()); err != nil {
		return err
	}
	k, err := d.blobOf(hsm.ClassState, newest)
	if err != nil {
		return err
	}
	if k.limit < d.erased {
		return hsm.Errorf(hsm.ErrConfig, "bring back the newest copy of the directory: seal keys of the epochs in this one are erased in the TPM",
			"%s is an old copy: its newest seal key is of epoch %d, and the TPM has erased the epochs up to %d", m.uri.Dir, newest, newest+d.erased-k.limit-1)
	}
	return nil
}

// blobOf returns a seal key's blob, from the file at its first use. The caller holds
// mu, or is alone.
func (d *Device) blobOf(class hsm.Class, epoch uint64) (blob, error) {
	id := sealID{class, epoch}
	if k, ok := d.seal[id]; ok {
		return k, nil
	}
	k, err := load(dir(d.conn.uri.Dir), sealFile(class, epoch), decodeBlob)
	if err == nil {
		d.seal[id] = k
	}
	return k, err
}

// alive returns the blob of a seal key that is neither erased nor still to be made.
func (d *Device) alive(class hsm.Class, epoch uint64) (blob, error) {
	if err := hsm.CheckSealKey(class, epoch); err != nil {
		return blob{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if epoch > d.newest {
		return blob{}, hsm.Errorf(hsm.ErrInput, "", "seal epoch %d is not made yet, the newest is %d", epoch, d.newest)
	}
	k, err := d.blobOf(class, epoch)
	if errors.Is(err, hsm.ErrNotProvisioned) || err == nil && k.limit < d.erased {
		return blob{}, hsm.Errorf(hsm.ErrInput, "", "the %v seal key of epoch %d is erased", class, epoch)
	}
	return k, err
}

// SealKey returns the public half of a seal key.
func (d *Device) SealKey(ctx context.Context, class hsm.Class, epoch uint64) (hsm.SealKey, error) {
	if err := d.ready(ctx); err != nil {
		return hsm.SealKey{}, err
	}
	k, err := d.alive(class, epoch)
	if err != nil {
		return hsm.SealKey{}, err
	}
	area, err := k.area()
	if err != nil {
		return hsm.SealKey{}, hsm.Errorf(hsm.ErrConfig, "", "couldn't use the seal key of epoch %d: %w", epoch, err)
	}
	p, err := point(area)
	if err != nil {
		return hsm.SealKey{}, hsm.Errorf(hsm.ErrConfig, "", "couldn't use the seal key of epoch %d: %w", epoch, err)
	}
	return hsm.SealKey{Suite: hsm.SuiteHPKE, Class: class, Epoch: epoch, Public: p}, nil
}

// Wrap is not for HPKE.
func (d *Device) Wrap(context.Context, hsm.Class, uint64, []byte, []byte) ([]byte, error) {
	return nil, hsm.Errorf(hsm.ErrUnsupported, "", "a TPM wraps no keys here: seal to its public key")
}

// Unwrap does one Diffie-Hellman with a seal key. The use of a cold key is authorised
// by the operator's signature over the TPM's own nonce and this one point.
func (d *Device) Unwrap(ctx context.Context, class hsm.Class, epoch uint64, enc, _ []byte, ap hsm.Approver) ([]byte, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	k, err := d.alive(class, epoch)
	if err != nil {
		return nil, err
	}
	if _, err := ecdh.P256().NewPublicKey(enc); err != nil {
		return nil, hsm.Errorf(hsm.ErrInput, "", "couldn't do the exchange: not a point on P-256: %w", err)
	}
	if class == hsm.ClassCold && d.device.operator != nil {
		return d.unwrapCold(ctx, k, epoch, enc, ap)
	}
	var shared []byte
	err = d.conn.do(ctx, "unseal", func(t transport.TPM) error {
		return withPolicy(t, func(s tpm2.Session) error {
			if err := d.belowLimit(t, s, k.limit); err != nil {
				return err
			}
			shared, err = d.exchange(t, s, k, enc)
			return err
		})
	})
	return shared, err
}

// belowLimit is the part of a seal key's policy that the erase counter takes away.
func (d *Device) belowLimit(t transport.TPM, s tpm2.Session, limit uint64) error {
	index := d.conn.uri.index(nvErase)
	name := counterName(index)
	_, err := tpm2.PolicyNV{
		AuthHandle:    auth(tpm2.TPMHandle(index), name.Buffer, d.device.auth.Reveal()),
		NVIndex:       tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: name},
		PolicySession: s.Handle(), OperandB: operand(limit), Operation: tpm2.TPMEOUnsignedLE,
	}.Execute(t)
	if errors.Is(err, tpm2.TPMRCPolicy) {
		return hsm.Errorf(hsm.ErrUnseal, "", "the seal key is erased in the TPM: its counter has passed %d", limit)
	}
	return err
}

// exchange is the Diffie-Hellman in a session that fulfils the key's policy.
func (d *Device) exchange(t transport.TPM, s tpm2.Session, k blob, enc []byte) ([]byte, error) {
	var shared []byte
	err := loaded(t, d.conn.uri, d.parent, d.device, k, func(h tpm2.NamedHandle) error {
		got, err := tpm2.ECDHZGen{
			KeyHandle: tpm2.AuthHandle{Handle: h.Handle, Name: h.Name, Auth: s},
			InPoint: tpm2.New2B(tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: enc[1:33]},
				Y: tpm2.TPM2BECCParameter{Buffer: enc[33:]}}),
		}.Execute(t, d.veil())
		if err != nil {
			return err
		}
		out, err := got.OutPoint.Contents()
		if err != nil || len(out.X.Buffer) > 32 {
			return hsm.Errorf(hsm.ErrDevice, "", "the TPM returned no point on P-256")
		}
		shared = make([]byte, 32)
		copy(shared[32-len(out.X.Buffer):], out.X.Buffer)
		clear(out.X.Buffer)
		clear(out.Y.Buffer)
		return nil
	})
	return shared, err
}

// veil is a session that encrypts what the TPM returns, with a secret that only the TPM
// of the parent reads: a TPM chip's wires can be tapped. The parent's public half is
// the one of the directory's TPM (sameTPM).
func (d *Device) veil() tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.AESEncryption(128, tpm2.EncryptOut),
		tpm2.Salted(d.conn.uri.persistent(atParent), d.area))
}

// unwrapCold asks the operator without holding the TPM: a person takes minutes, and
// decisions are signed meanwhile. The session stays, since its nonce is in what the
// operator signs.
func (d *Device) unwrapCold(ctx context.Context, k blob, epoch uint64, enc []byte, ap hsm.Approver) (shared []byte, err error) {
	select {
	case d.asking <- struct{}{}:
		defer func() { <-d.asking }()
	case <-ctx.Done():
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "another use of a cold key waits for its operator: %w", ctx.Err())
	}
	var s tpm2.Session
	err = d.conn.do(ctx, "unseal", func(t transport.TPM) error {
		if s, _, err = tpm2.PolicySession(t, tpm2.TPMAlgSHA256, 16); err == nil {
			d.conn.kept[s.Handle()] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	used := false
	defer func() {
		if !used {
			err = errors.Join(err, d.drop(s))
		}
	}()
	cp, err := attest.ExchangeHash(k.name(), enc)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrInput, "", "couldn't do the exchange: %w", err)
	}
	nonce := s.NonceTPM().Buffer
	c := hsm.Challenge{
		Kind: hsm.ChallengePolicy, Use: fmt.Sprintf("open one blob of the cold seal key of epoch %d", epoch),
		Digest: attest.OperatorDigest(nonce, operatorTime, cp), Preimage: attest.OperatorPreimage(nonce, operatorTime, cp), Keys: []signature.PublicKey{*d.device.operator}, Need: 1,
	}
	sig, err := one(ctx, ap, c)
	if err != nil {
		return nil, err
	}
	err = d.conn.do(ctx, "unseal", func(t transport.TPM) error {
		used = true
		delete(d.conn.kept, s.Handle())
		err := d.coldPolicy(t, s, k, cp, nonce, sig)
		if err == nil {
			shared, err = d.exchange(t, s, k, enc)
		}
		return errors.Join(err, endSession(t, s))
	})
	return shared, err
}

// one asks for one signature, and checks it before the TPM does, so that the refusal
// says whose it is.
func one(ctx context.Context, ap hsm.Approver, c hsm.Challenge) (signature.Signature, error) {
	good, err := ask(ctx, ap, c)
	if err != nil {
		return signature.Signature{}, err
	}
	return good[0], nil
}

func (d *Device) coldPolicy(t transport.TPM, s tpm2.Session, k blob, cp [32]byte, nonce []byte, sig signature.Signature) error {
	if err := d.belowLimit(t, s, k.limit); err != nil {
		return err
	}
	err := withVerifier(t, *d.device.operator, func(h tpm2.NamedHandle) error {
		_, err := tpm2.PolicySigned{
			AuthObject: h, PolicySession: s.Handle(), NonceTPM: tpm2.TPM2BNonce{Buffer: nonce},
			CPHashA: tpm2.TPM2BDigest{Buffer: cp[:]}, PolicyRef: tpm2.TPM2BNonce{Buffer: attest.OperatorRef()},
			Expiration: operatorTime, Auth: curved(sig),
		}.Execute(t)
		return err
	})
	switch {
	case errors.Is(err, tpm2.TPMRCExpired):
		return hsm.Errorf(hsm.ErrApproval, "ask again, and answer within three minutes", "the operator's signature came too late for the TPM: %w", err)
	case errors.Is(err, tpm2.TPMRCSignature), errors.Is(err, tpm2.TPMRCNonce):
		return hsm.Errorf(hsm.ErrApproval, "", "the TPM refuses the operator's signature: %w", err)
	}
	return err
}

// drop ends a kept session, also when the caller's context is done.
func (d *Device) drop(s tpm2.Session) error {
	return d.conn.do(context.Background(), "end a session", func(t transport.TPM) error {
		delete(d.conn.kept, s.Handle())
		return endSession(t, s)
	})
}

func endSession(t transport.TPM, s tpm2.Session) error {
	if _, err := (tpm2.FlushContext{FlushHandle: s.Handle()}).Execute(t); err != nil {
		return fmt.Errorf("couldn't end a session: %w", err)
	}
	return nil
}

// Seal seals to a seal key.
func (d *Device) Seal(ctx context.Context, class hsm.Class, epoch uint64, plaintext, aad []byte) ([]byte, error) {
	return hsm.SealWith(ctx, d, class, epoch, plaintext, aad)
}

// Unseal opens a blob.
func (d *Device) Unseal(ctx context.Context, blob, aad []byte, ap hsm.Approver) ([]byte, error) {
	return hsm.OpenWith(ctx, d, blob, aad, ap)
}

// SealEpoch returns the newest epoch.
func (d *Device) SealEpoch(ctx context.Context) (uint64, error) {
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest, nil
}

// Advance makes the seal keys of the next epoch.
func (d *Device) Advance(ctx context.Context) (uint64, error) {
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	var next uint64
	err := d.conn.do(ctx, "make a seal key", func(t transport.TPM) error {
		m := &maker{uri: d.conn.uri, dir: dir(d.conn.uri.Dir), device: d.device, t: t, parent: d.parent, attest: d.attest}
		_, newest, err := m.dir.epochs() // another process may have advanced
		if err != nil {
			return err
		}
		next = newest + 1
		return m.epoch(next)
	})
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newest = max(d.newest, next)
	return next, nil
}

// Erase destroys the seal keys of the epochs below this one: first in the TPM, whose
// counter passes what their policies bear and never comes back, then on the disk.
func (d *Device) Erase(ctx context.Context, below uint64) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	return d.conn.do(ctx, "erase seal keys", func(t transport.TPM) error {
		where := dir(d.conn.uri.Dir)
		names, newest, err := where.epochs()
		if err != nil {
			return err
		}
		if below > newest {
			return hsm.Errorf(hsm.ErrInput, "", "erase below epoch %d: the newest is %d, and it must stay", below, newest)
		}
		b, err := load(where, fileBase, decodeBase)
		if err != nil || below <= 1 {
			return err
		}
		index, value := d.conn.uri.index(nvErase), d.device.auth.Reveal()
		if err := raise(t, index, value, b.erase+below-1); err != nil {
			return err
		}
		now, err := readCounter(t, index, value)
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.erased, d.newest = now, newest
		d.mu.Unlock()
		for epoch, files := range names {
			for _, f := range files {
				if epoch >= below {
					continue
				}
				if err := where.remove(f); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Counter returns the NV counter.
func (d *Device) Counter(ctx context.Context) (uint64, error) {
	return d.count(ctx, "read the counter", false)
}

// Increment adds one to the NV counter.
func (d *Device) Increment(ctx context.Context) (uint64, error) {
	return d.count(ctx, "increment the counter", true)
}

func (d *Device) count(ctx context.Context, what string, up bool) (v uint64, err error) {
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	index := d.conn.uri.index(nvCounter)
	err = d.conn.do(ctx, what, func(t transport.TPM) error {
		if up {
			if err := increment(t, index, counterName(index), d.device.auth.Reveal()); err != nil {
				return err
			}
		}
		v, err = readCounter(t, index, d.device.auth.Reveal())
		return err
	})
	return v, err
}
