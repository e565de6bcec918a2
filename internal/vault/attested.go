package vault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/wire"
)

// Attestation (docs/spec/channel.md, kind 9). Where the admins say what the vaults'
// machines may run, a channel is good for rounds only after the peer's device has
// shown, for this channel and a nonce of ours, what it is and what it has measured,
// and that is among what the admins accept.

// attestation is what a peer has shown over its present channel.
type attestation struct {
	nonce   [32]byte
	asked   uint64 // when the newest challenge left; 0: none
	open    bool   // it has no answer yet
	seen    *attest.Result
	refused string // what its answer was worth, when it proved nothing

	answering bool // this vault's device works for the peer
	pace      pace // of its challenges
}

const (
	// attestAgain repeats a challenge that has no answer yet, and attestLater one whose
	// answer proved nothing: the peer's device may be back by then.
	attestAgain = 2_000
	attestLater = 30_000
	// attestCost and attestBurst bound what a peer can have this vault's device do, in
	// milliseconds of it.
	attestCost  = 1_000
	attestBurst = 10 * attestCost
	// maxAttestText bounds what is said of a peer's machine.
	maxAttestText = 1024
)

// attested says whether a peer has shown what the admins demand. It is decided anew
// at each use: the demand may have changed.
func (v *Vault) attested(p *peer) error {
	policy := v.gov.Measurements
	switch {
	case !policy.Demands():
		return nil
	case p.attest.seen != nil:
		if err := policy.Check(*p.attest.seen); err != nil {
			return fmt.Errorf("vault %d's machine: %w; measured: %s; accepted: %s", p.id, err, measured(p.attest.seen), accepted(&policy))
		}
		return nil
	case p.attest.refused != "":
		return fmt.Errorf("vault %d's machine: %s; accepted: %s", p.id, p.attest.refused, accepted(&policy))
	}
	return fmt.Errorf("vault %d has not shown yet what its machine runs, which the admins demand (change of kind measurements)", p.id)
}

// measured is what evidence proves, for people.
func measured(r *attest.Result) string {
	kind := "TPM"
	if r.Emulator {
		kind = "emulated TPM"
	}
	text := fmt.Sprintf("%s %s %s, attestation key %x, PCRs (mask %x) with digest %x, firmware %x", kind, r.Manufacturer, r.Model, r.AK[:8], r.Mask, r.PCRDigest[:8], r.Firmware)
	if r.GenerationCounter != (attest.Name{}) {
		text += fmt.Sprintf(", approvers of generation %d (counter %x) under policy %x", r.Generation, r.GenerationCounter[2:10], r.ApprovalPolicy[:8])
	}
	return text
}

// accepted is what the policy accepts, for people.
func accepted(p *attest.Policy) string {
	var words []string
	if len(p.Keys) > 0 {
		words = append(words, fmt.Sprintf("%d attestation keys", len(p.Keys)))
	}
	for i, m := range p.Measurements {
		if i == 4 {
			words = append(words, fmt.Sprintf("and %d more", len(p.Measurements)-i))
			break
		}
		words = append(words, fmt.Sprintf("%q (digest %x)", m.Name, m.Digest[:8]))
	}
	if !p.Emulators {
		words = append(words, "no emulators")
	}
	return strings.Join(words, ", ")
}

// attestStatus is what is to be said of a peer's machine; empty when nobody asks.
func (v *Vault) attestStatus(p *peer) string {
	if !v.gov.Measurements.Demands() {
		return ""
	}
	if err := v.attested(p); err != nil {
		return wire.CleanText("refused: "+err.Error(), maxAttestText)
	}
	return wire.CleanText("accepted: "+measured(p.attest.seen), maxAttestText)
}

// tickAttest challenges a peer that has not shown what is demanded.
func (v *Vault) tickAttest(p *peer) {
	if !v.gov.Measurements.Demands() || !p.confirmed || p.attest.seen != nil {
		return
	}
	wait := uint64(attestLater)
	if p.attest.open {
		wait = attestAgain
	}
	if p.attest.asked != 0 && v.now-p.attest.asked < wait {
		return
	}
	if v.draw(p.attest.nonce[:]) != nil {
		return
	}
	p.attest.asked, p.attest.open = v.now, true
	v.sendSealed(p, &inner{Kind: innerAttest, Private: append([]byte(nil), p.attest.nonce[:]...)})
}

// onAttest takes a challenge (round 0) or an answer (round 1).
func (v *Vault) onAttest(p *peer, in *inner) {
	switch {
	case in.Round == 0 && len(in.Private) == 32:
		v.answerChallenge(p, [32]byte(in.Private))
	case in.Round == 1:
		v.takeEvidence(p, in.Private)
	}
}

// answerChallenge has this vault's device say what it is, to this peer, over this
// channel.
func (v *Vault) answerChallenge(p *peer, nonce [32]byte) {
	if p.attest.answering || !p.attest.pace.spend(v.now, attestCost, attestBurst) {
		return
	}
	p.attest.answering = true
	h := p.hello
	v.ask(DeviceCommand{Kind: DeviceAttest, Nonce: nonce, Bind: v.channelID(h)}, func(res DeviceResult) error {
		if p.hello != h {
			return nil // another channel, with an attestation of its own
		}
		p.attest.answering = false
		evidence := res.Data
		if res.Err != "" {
			evidence = nil
		}
		w := wire.NewWriter(1).Fixed(nonce[:]).Var(evidence).String(wire.CleanText(res.Err, maxAttestText))
		v.sendSealed(p, &inner{Kind: innerAttest, Round: 1, Private: w.Bytes()})
		return nil
	})
}

// takeEvidence takes one answer to a challenge. What answers no open challenge of
// this channel is dropped: it proves nothing, for or against anybody.
func (v *Vault) takeEvidence(p *peer, b []byte) {
	var nonce [32]byte
	r := wire.NewReader(b, 1)
	r.Into("nonce", nonce[:])
	evidence, words := r.Var("evidence", maxEvidence), r.Text("error", maxAttestText)
	if r.Done() != nil || !p.attest.open || nonce != p.attest.nonce {
		return
	}
	p.attest.open = false
	seen, err := v.verifyEvidence(p, p.attest.nonce, evidence, words)
	if err != nil {
		p.attest.refused = err.Error()
		v.notePeer(p, "peer does not show what its machine runs: no rounds with it", "why", v.attestStatus(p))
		return
	}
	p.attest.seen, p.attest.refused = seen, ""
	v.noteAttested(p)
}

// noteAttested tells the operator where a peer that has shown what it runs stands.
func (v *Vault) noteAttested(p *peer) {
	if err := v.attested(p); err != nil {
		v.notePeer(p, "peer's machine runs what the admins do not accept: no rounds with it", "why", err.Error())
		return
	}
	v.notePeer(p, "peer's machine is as the admins accept it", "measured", measured(p.attest.seen))
}

// maxEvidence bounds encoded evidence.
const maxEvidence = hsm.MaxEvidence + 64

func (v *Vault) verifyEvidence(p *peer, nonce [32]byte, b []byte, words string) (*attest.Result, error) {
	if len(b) == 0 {
		return nil, errors.New("it gives no evidence: " + words)
	}
	e, err := hsm.DecodeEvidence(b)
	if err != nil {
		return nil, err
	}
	card, ok := v.gov.Vault(uint16(p.id))
	if !ok {
		return nil, errors.New("no card is in force")
	}
	r, err := attest.Verify(e.Kind, e.Bytes, attest.Want{
		Nonce: nonce, Bind: v.channelID(p.hello), Identity: card.Identity, Decision: card.Decision, Approval: card.ApprovalArea,
	})
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// remeasure goes through the peers when the demand has changed. Sessions have ended
// already, as with every change.
func (v *Vault) remeasure() {
	for _, id := range sortedIDs(v.peers) {
		if p := v.peers[id]; p.attest.seen != nil {
			v.noteAttested(p)
		} else {
			p.attest.asked = 0 // at once
		}
	}
}

// rounds are the kinds of frames that need an attested peer.
func rounds(kind uint8) bool {
	return kind == innerKeygen || kind == innerSign || kind == innerHandover || kind == innerRepair
}
