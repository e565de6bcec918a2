package sim

import (
	"crypto/ed25519"
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/mpc"
)

// KnownSolana is the recipient on Solana whom the address book knows;
// StrangerSolana is not in it.
var (
	KnownSolana    = solana.Address{0xc0, 0xff, 0xee, 31: 1}
	StrangerSolana = solana.Address{0xde, 0xad, 31: 2}
)

// Lamports is n SOL.
func Lamports(n uint64) uint64 { return n * 1_000_000_000 }

// KeygenEd25519 is Keygen for a key that signs for Solana.
func (w *World) KeygenEd25519(name string, threshold int) (*Wallet, error) {
	return w.KeygenFor(name, governance.PurposeEd25519, threshold)
}

// KeygenFor is Keygen for a key of any purpose.
func (w *World) KeygenFor(name, purpose string, threshold int) (*Wallet, error) {
	return w.keygen(w.KeygenOrderFor(name, purpose, threshold))
}

// Pay is Transfer for a wallet on Solana.
func (w *World) Pay(x *Wallet, to solana.Address, lamports uint64, approvers ...string) *request.Bundle {
	var fee chain.Amount
	fee.SetUint64(1_000_000)
	return w.bundle(x, solana.Mainnet, solana.NewTransfer(to, lamports).Encode(), fee, approvers)
}

// UnsignedSolana is a final message for a payment. blockhash tells versions apart.
func UnsignedSolana(x *Wallet, to solana.Address, lamports uint64, blockhash byte) []byte {
	from, err := solana.ParseAccount(x.Sender)
	if err != nil {
		panic(err)
	}
	tx := &solana.Transaction{Payer: from, Blockhash: [32]byte{blockhash}, Intent: *solana.NewTransfer(to, lamports)}
	m, err := tx.Message()
	if err != nil {
		panic(err)
	}
	return m.Encode()
}

// CombineEd25519 makes the signature of all signers' shares and has it verified, by
// Go's own verifier too.
func CombineEd25519(x *Wallet, b *request.Bundle, unsigned []byte, replies map[mpc.ID]*cluster.Reply) (*chain.Signature, error) {
	var signers []mpc.ID
	var attempt [16]byte
	bodies := map[mpc.ID][]byte{}
	for _, id := range x.Parties {
		r, ok := replies[id]
		if !ok {
			continue
		}
		if r == nil || r.Outcome != cluster.OutcomeDone {
			return nil, fmt.Errorf("vault %d gave no share: %s", id, Describe(r))
		}
		c, err := audit.DecodeCertificate(r.Certificate)
		if err != nil {
			return nil, err
		}
		attempt = c.Decision.Attempt
		signers, bodies[id] = append(signers, id), r.Body
	}
	p, err := solana.Codec{}.Prepare(b.Request.Chain, b.Request.Sender, b.Request.Intent, b.Request.MaxFee, unsigned, nil)
	if err != nil {
		return nil, err
	}
	sig, err := cluster.CombineFROST(x.Certificate, cluster.FROSTTerms(signers, attempt, b.Request.ID(), p.Message(0)), bodies)
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(x.PublicKey, unsigned, sig) {
		return nil, fmt.Errorf("the signature %x does not verify", sig)
	}
	return &chain.Signature{R: [32]byte(sig[:32]), S: [32]byte(sig[32:])}, nil
}
