package verify_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/verify"
	"github.com/cofferhq/coffer/mpc"
)

// payOnSolana signs with a FROST key and brings the receipt to the signers.
func (v *vaults) payOnSolana(b *request.Bundle, unsigned []byte, signers ...mpc.ID) string {
	v.Helper()
	c := &cluster.Command{Kind: cluster.CommandSign, Attempt: v.Attempt(), Body: b.Encode(), Unsigned: unsigned}
	for _, id := range signers {
		c.Signers = append(c.Signers, uint16(id))
	}
	sig, err := sim.CombineEd25519(v.x, b, unsigned, v.ask(c, signers...))
	v.ok(err)
	r := &audit.Receipt{Attempt: c.Attempt, Request: b.Request.ID(), Key: v.x.ID, Unsigned: unsigned, PublicKey: v.x.PublicKey, Signatures: []chain.Signature{*sig}}
	_, r.TxID, err = solana.Codec{}.Assemble(v.x.Sender, r.Unsigned, r.Signatures)
	v.ok(err)
	v.lie(r, signers)
	for id, reply := range v.ask(&cluster.Command{Kind: cluster.CommandReceipt, Body: r.Encode()}, signers...) {
		if reply == nil || reply.Outcome != cluster.OutcomeDone {
			v.Fatalf("vault %d doesn't take the receipt: %s", id, sim.Describe(reply))
		}
	}
	return r.TxID
}

// TestSolanaVerifies: Ed25519 signatures stand with their decisions, and so do the
// refusals that a key of another scheme meets.
func TestSolanaVerifies(t *testing.T) {
	w, err := sim.New(43, 3, sim.Roster(43), sim.Policy())
	v := &vaults{T: t, World: w}
	v.ok(err)
	v.x, err = w.KeygenEd25519("sol", 2)
	v.ok(err)
	message := func(n uint64, hash byte) []byte { return sim.UnsignedSolana(v.x, sim.KnownSolana, n, hash) }
	first := w.Pay(v.x, sim.KnownSolana, 5)
	txid := v.payOnSolana(first, message(5, 1), 1, 2)
	v.payOnSolana(w.Pay(v.x, sim.KnownSolana, 6), message(6, 1), 2, 3)
	v.payOnSolana(first, message(5, 1), 1, 3) // the identical message, once more
	v.refuse(1, v.Attempt(), first, message(5, 2), 1, 2)
	v.refuse(2, v.Attempt(), w.Pay(v.x, sim.KnownSolana, 7), message(8, 1), 2, 3)
	v.refuse(3, v.Attempt(), w.Pay(v.x, sim.StrangerSolana, 7), sim.UnsignedSolana(v.x, sim.StrangerSolana, 7, 1), 2, 3)
	onEVM := w.Transfer(v.x, sim.Known, sim.ETH(1))
	onEVM.Request.Sender = sim.Chain + ":0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"
	resign(w, onEVM)
	v.refuse(1, v.Attempt(), onEVM, sim.Unsigned(sim.Known, sim.ETH(1), 0), 1, 2)
	// A key of BIP-340 has an address on an EVM chain, and does not sign for it.
	v.x, err = w.KeygenFor("tap", governance.PurposeTaproot, 2)
	v.ok(err)
	b := w.Transfer(v.x, sim.Known, sim.ETH(1))
	v.refuse(1, v.Attempt(), b, sim.Unsigned(sim.Known, sim.ETH(1), 0), 1, 2)
	v.ok(w.Tick(5_000))
	v.ok(w.Settle())

	r := verify.Copies(w.Genesis.Hash(), v.copies(), sim.Codecs())
	if !r.OK || r.Counts.Receipts != 3 || r.Counts.Refused != 5 || len(r.Signed) != 3 || r.Signed[0].TxID != txid {
		t.Fatalf("%+v", r)
	}
}

func resign(w *sim.World, b *request.Bundle) {
	b.ProposeSignature = sim.SignStatement(sim.Person(w.Seed, sim.Trader), request.ProposeStatement(b.Request.ID()))
	w.Screen(b, request.Pass)
}
