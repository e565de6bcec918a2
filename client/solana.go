package client

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/chain/solana"
)

// Solana is the one chain of its family that Coffer knows.
const Solana = solana.Mainnet

// DefaultSolanaMaxFee is the maximum fee of a draft on Solana unless it is set.
const DefaultSolanaMaxFee = "0.0001 SOL"

// solanaTransfer drafts a transfer of "1.5 SOL" or of lamports.
func (c *Cluster) solanaTransfer(w *Wallet, to, text string) (*Draft, error) {
	recipient, err := solana.ParseAddress(strings.TrimPrefix(to, solana.Mainnet+":"))
	if err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	value, err := amount.Parse(text, amount.Sol...)
	if err != nil {
		return nil, err
	}
	if !value.IsUint64() {
		return nil, fmt.Errorf("amount %s: at most 2⁶⁴−1 lamports", text)
	}
	return c.draft(w, solana.Mainnet, solana.NewTransfer(recipient, value.Uint64()).Encode())
}

// solanaRaw drafts a request from what another tool built, which is also the
// transaction that is to be signed.
func (c *Cluster) solanaRaw(w *Wallet, text string) (*Draft, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("raw transaction: want 0x and hex digits (EVM), or base64 (Solana)")
	}
	message, tx, err := solana.FromUnsigned(raw)
	if err != nil {
		return nil, fmt.Errorf("raw transaction: %w", err)
	}
	d, err := c.draft(w, solana.Mainnet, tx.Intent.Encode())
	if err != nil {
		return nil, err
	}
	if want := solana.Account(tx.Payer); d.request.Sender != want {
		return nil, fmt.Errorf("raw transaction: %s pays, the wallet is %s", want, d.request.Sender)
	}
	d.request.MaxFee, d.unsigned = tx.Fee(), message
	return d, nil
}

// Lifetime says until when a transaction on Solana is good. A blockhash is good
// for about a minute; with the account of a durable nonce, whose authority is the
// wallet, Blockhash is the nonce's value, and good until it is advanced.
type Lifetime struct {
	Blockhash    string
	NonceAccount string // empty: none
}

// Transaction builds the transaction that a request on Solana asks for. The
// coordinator asks no node of that chain: somebody brings it (Client.Bring).
func (r *Decoded) Transaction(l Lifetime) (unsigned string, err error) {
	if r.Chain != solana.Mainnet {
		return "", fmt.Errorf("the coordinator builds the transactions of %s itself", r.Chain)
	}
	sender, err := solana.ParseAccount(r.Sender)
	if err != nil {
		return "", err
	}
	in, err := solana.DecodeIntent(r.request.Intent)
	if err != nil {
		return "", err
	}
	tx := &solana.Transaction{Payer: sender, Intent: *in}
	if tx.Blockhash, err = solana.ParseBlockhash(l.Blockhash); err != nil {
		return "", err
	}
	if l.NonceAccount != "" {
		a, err := solana.ParseAddress(l.NonceAccount)
		if err != nil {
			return "", fmt.Errorf("nonce account: %w", err)
		}
		tx.Nonce = &a
	}
	m, err := tx.Message()
	if err != nil {
		return "", err
	}
	return r.checked(m.Encode())
}

// RawTransaction takes the transaction that a request asks for from another tool,
// in base64.
func (r *Decoded) RawTransaction(text string) (unsigned string, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil {
		return "", errors.New("raw transaction: want base64")
	}
	message, _, err := solana.FromUnsigned(raw)
	if err != nil {
		return "", fmt.Errorf("raw transaction: %w", err)
	}
	return r.checked(message)
}

// checked is a transaction that does what the request says, as Bring takes it.
func (r *Decoded) checked(unsigned []byte) (string, error) {
	codec, err := family.Of(r.Chain)
	if err != nil {
		return "", err
	}
	if _, err := codec.Prepare(r.Chain, r.Sender, r.request.Intent, r.request.MaxFee, unsigned, nil); err != nil {
		return "", err
	}
	return encode(unsigned), nil
}
