package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/solana"
)

// solanaKnown is somebody on Solana whom the address book knows.
const solanaKnown = "7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv"

// solana makes a second key, for Ed25519, and has a transfer signed with it. There
// is no node of Solana here: the transaction gets a blockhash that never was, and
// is judged by Go's own verifier.
func (d *demo) solana(ctx context.Context) error {
	order, err := d.cluster.Order(d.info, "alice", client.KeyOptions{Name: "solana", Purpose: client.PurposeEd25519, Threshold: 2})
	if err != nil {
		return err
	}
	w, err := d.client.CreateWallet(ctx, order)
	if err != nil {
		return err
	}
	d.say("the vaults make a second key, for Ed25519: %s on Solana", w.Addresses[client.Solana])
	draft, err := client.NewTransfer(d.info, w, client.Solana, solanaKnown, "0.5 SOL")
	if err != nil {
		return err
	}
	var hash solana.Address
	if _, err := rand.Read(hash[:]); err != nil {
		return err
	}
	if err := draft.SetLife(client.Lifetime{Blockhash: hash.String()}); err != nil {
		return err
	}
	p, err := d.cluster.Person("bot").Propose(draft)
	if err != nil {
		return err
	}
	r, err := d.client.Propose(ctx, p)
	if err != nil {
		return err
	}
	if _, err = d.client.Bring(ctx, r.ID, draft.Transaction()); err != nil {
		return err
	}
	if r, err = d.client.Wait(ctx, r.ID, settleTimeout); err != nil {
		return err
	}
	t, err := d.client.Transaction(ctx, r.ID)
	if err != nil {
		return err
	}
	d.check(fmt.Sprintf("vaults %s sign 0.5 SOL with FROST; Go's crypto/ed25519 verifies the transaction under the wallet's key", signers(r)),
		errors.Join(decidedBy(r, 2), judgeSolana(w, t.Raw)))
	return nil
}

// judgeSolana reads a signed transaction without Coffer's codec: the signature's
// count, the signature, and the message that it signs, with the payer first among
// the accounts and the lamports last.
func judgeSolana(w *client.Wallet, raw string) error {
	b, err := base64.StdEncoding.DecodeString(raw)
	if err != nil || len(b) < 65+8 || b[0] != 1 {
		return fmt.Errorf("the transaction is %.80q", raw)
	}
	key, err := hex.DecodeString(w.PublicKey)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("the wallet's public key is %.80q", w.PublicKey)
	}
	sig, message := b[1:65], b[65:]
	switch {
	case !ed25519.Verify(key, message, sig):
		return errors.New("the signature does not verify")
	case !bytes.Equal(message[4:36], key):
		return errors.New("somebody else pays")
	case binary.LittleEndian.Uint64(message[len(message)-8:]) != 500_000_000:
		return errors.New("it pays another amount")
	}
	return nil
}
