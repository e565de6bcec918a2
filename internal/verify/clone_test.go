package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/verify"
	"github.com/cofferhq/coffer/mpc"
)

// TestClonesVerify: what vaults log of a cloned passkey verifies, and edited it does
// not.
func TestClonesVerify(t *testing.T) {
	bob := passkeytest.New(signature.WebAuthnP256, "bob", "coffer.example")
	ro := sim.Roster(9)
	for i := range ro.Principals {
		if p := &ro.Principals[i]; p.ID == "bob" {
			p.Credentials = append(p.Credentials, bob.Public())
		}
	}
	ro.Origins = []string{bob.Origin}
	ro.Sort()
	w, err := sim.New(9, 3, ro, sim.Policy())
	v := &vaults{T: t, World: w}
	v.ok(err)
	v.x, err = w.Keygen("treasury", 2)
	v.ok(err)
	approved := func(x *passkeytest.Authenticator) *request.Bundle {
		b := w.Transfer(v.x, sim.Stranger, sim.ETH(5), "carol")
		a := request.Approval{Request: b.Request.ID(), Principal: "bob", Approve: true, Time: w.Now, Expires: b.Request.Expires, Key: x.Public()}
		a.Signature = x.Sign(a.Statement())
		b.Approvals = append(b.Approvals, a)
		b.Sort()
		return b
	}
	thief := bob.Clone()
	v.pay(approved(bob), sim.Unsigned(sim.Stranger, sim.ETH(5), 0), 1, 2)
	_, err = w.Sign(approved(thief), sim.Unsigned(sim.Stranger, sim.ETH(5), 1), 1, 2)
	v.ok(err)
	v.ok(w.Tick(5_000))
	v.ok(w.Settle())
	r := verify.Copies(w.Genesis.Hash(), v.copies(), sim.Codecs())
	if !r.OK || r.Counts.Refused != 2 || r.Counts.Receipts != 1 || len(r.Notes) != 2 || !strings.Contains(fmt.Sprint(r.Notes), "of bob is in two devices: it signed with counter 1 and with counter 1") {
		t.Fatalf("%+v", r)
	}

	// Edited logs have no good checkpoint either; the fault about the entry counts.
	edit := func(change func(e *audit.Entry) bool) *verify.Report {
		copies := v.copies()
		entries := append([][]byte(nil), w.Parties[mpc.ID(1)].Disk.Entries...)
		for i := 0; i < len(entries); i++ {
			e, err := audit.DecodeEntry(entries[i])
			v.ok(err)
			if change(e) {
				entries[i] = e.Encode()
			} else {
				entries = append(entries[:i:i], entries[i+1:]...)
				i--
			}
		}
		copies[0].Entries = entries
		return verify.Copies(w.Genesis.Hash(), copies, sim.Codecs())
	}
	has := func(r *verify.Report, code verify.Code, text string) {
		t.Helper()
		for _, f := range r.Faults {
			if f.Vault == 1 && f.Code == code && strings.Contains(f.Detail, text) {
				return
			}
		}
		t.Errorf("no %s %q in %v", code, text, r.Faults)
	}
	clone := func(change func(c *audit.Clone)) *verify.Report {
		return edit(func(e *audit.Entry) bool {
			if e.Kind == audit.KindClone {
				c, err := audit.DecodeClone(e.Body)
				v.ok(err)
				change(c)
				e.Body = c.Encode()
			}
			return true
		})
	}
	has(edit(func(e *audit.Entry) bool { return e.Kind != audit.KindClone }), verify.DecisionVerdict, "the log says refuse, identity.cloned")
	has(clone(func(c *audit.Clone) { c.Second = c.First }), verify.CloneBad, "do not contradict each other")
	has(clone(func(c *audit.Clone) { c.Second.Digest[0]++ }), verify.CloneBad, "signature 2 of the cloned passkey")
	has(clone(func(c *audit.Clone) { c.First.Signature.Bytes[40]++ }), verify.CloneBad, "signature 1 of the cloned passkey")
	has(clone(func(c *audit.Clone) { c.Principal = "carol" }), verify.CloneBad, "is not carol's")
	has(edit(func(e *audit.Entry) bool {
		if e.Kind == audit.KindDecision {
			if d, err := audit.DecodeDecision(e.Body); err == nil && d.Code == "identity.cloned" {
				d.Allow, d.Code, d.Rule, d.Detail, d.Fix = true, "", "payments", "", ""
				d.R0Hash, d.Time = [32]byte{1}, d.Time+1
				e.Time, e.Body = d.Time, d.Encode()
			}
		}
		return true
	}), verify.DecisionVerdict, "deciding again gives refuse, identity.cloned")
}
