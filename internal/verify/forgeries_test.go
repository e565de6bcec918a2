package verify

import (
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// A forgery is a history in which one thing is wrong. Unless it says otherwise
// the vault itself is in on it: its HSM signs the checkpoint over the forged log,
// so that nothing but the check in question can find it.
type forgery struct {
	name string
	want Code
	says string // part of the fault's text
	make func(w *world) []Copy
}

// then makes a forgery from one that writes into the logs.
func then(write func(w *world)) func(w *world) []Copy {
	return func(w *world) []Copy {
		write(w)
		return w.copies()
	}
}

// paid makes a forgery from hooks into one payment by vaults 1 and 2.
func paid(h hooks) func(w *world) []Copy {
	return then(func(w *world) {
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, h)
	})
}

// coldly makes a forgery from hooks into one payment by vaults 2 and 3, from a wallet
// in cold custody.
func coldly(change func(w *world, d *audit.Decision)) func(w *world) []Copy {
	return then(func(w *world) {
		w.tier = governance.TierCold
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{2, 3}, hooks{decision: func(d *audit.Decision, vault uint16) {
			if vault == 3 {
				change(w, d)
			}
		}})
	})
}

// keyed makes a forgery from a key entry, logged by vault 1.
func keyed(change func(w *world, k *audit.KeyEntry)) func(w *world) []Copy {
	return then(func(w *world) {
		k := w.keyEntry()
		change(w, k)
		w.append(1, audit.KindKey, k.Encode())
	})
}

// recopied makes a forgery from an honest history and its copies.
func recopied(change func(w *world, cs []Copy) []Copy) func(w *world) []Copy {
	return func(w *world) []Copy { return change(w, w.history().copies()) }
}

func only(id uint16, change func(d *audit.Decision)) hooks {
	return hooks{decision: func(d *audit.Decision, vault uint16) {
		if vault == id {
			change(d)
		}
	}}
}

func (w *world) signOrder(o *governance.KeygenOrder) []byte {
	o.Signature = signEd(w.people[o.Author], o.Statement())
	return o.Encode()
}

// recert is the wallet's certificate with something changed, signed by these.
func (w *world) recert(change func(c *dkg.Certificate), signers ...uint16) []byte {
	c := &dkg.Certificate{
		Suite: w.cert.Suite, Origin: w.cert.Origin, Purpose: w.cert.Purpose, SID: w.cert.SID, Epoch: w.cert.Epoch, Threshold: w.cert.Threshold,
		Parties: w.cert.Parties, PublicShares: w.cert.PublicShares, Feldman: w.cert.Feldman,
	}
	change(c)
	w.signCert(c, signers...)
	return c.Encode()
}

func keep(*dkg.Certificate) {}

var forgeries = []forgery{
	// The copies.
	{"header damaged in memory", CopyForeign, "want", recopied(func(w *world, cs []Copy) []Copy { cs[0].Header.Cluster[0]++; return cs })},
	{"vault that genesis does not name", CopyForeign, "names no vault 9", recopied(func(w *world, cs []Copy) []Copy { cs[0].Header.Vault = 9; return cs })},
	{"damage", CopyDamaged, "within an entry", recopied(func(w *world, cs []Copy) []Copy { cs[1].Damage = logfile.ErrTorn; return cs })},
	{"no copies", CopyMissing, "nothing", func(w *world) []Copy { return nil }},
	{"fork between copies", CopyForked, "entry 4: copy-1 and copy-1 differ", func(w *world) []Copy {
		cs := w.history().copies()
		fork := slices.Clone(w.vaults[1].entries)
		fork[4] = (&audit.Entry{Time: 1, Kind: audit.KindIncident, Body: (&audit.Incident{Peer: 2}).Encode()}).Encode()
		cp := w.signCheckpoint(1, audit.Checkpoint{Cluster: w.gov.Cluster, Vault: 1, Size: uint64(len(fork)), Root: audit.Load(fork).Root(), Boot: 1})
		return append(cs, w.copyWith(1, fork, cp.Encode()))
	}},

	// The genesis.
	{"empty log", GenesisWrong, "empty", recopied(func(w *world, cs []Copy) []Copy { cs[0].Entries = nil; return cs })},
	{"first entry undecodable", GenesisWrong, "decode", recopied(func(w *world, cs []Copy) []Copy { cs[0].Entries[0] = []byte{1}; return cs })},
	{"first entry no genesis", GenesisWrong, "is a boot", recopied(func(w *world, cs []Copy) []Copy { cs[0].Entries = cs[0].Entries[1:]; return cs })},
	{"genesis undecodable", GenesisWrong, "decode", recopied(func(w *world, cs []Copy) []Copy {
		cs[0].Entries[0] = (&audit.Entry{Kind: audit.KindGenesis}).Encode()
		return cs
	})},
	{"another genesis", GenesisWrong, "has the hash", func(w *world) []Copy {
		other := newWorld(w.t)
		other.vaults[1].entries[0], w.vaults[1].entries[0] = w.vaults[1].entries[0], other.vaults[1].entries[0]
		return w.history().copies()
	}},
	{"another genesis in the second copy", GenesisWrong, "vault 2, entry 0", func(w *world) []Copy {
		w.vaults[2].entries[0] = newWorld(w.t).vaults[2].entries[0]
		return w.history().copies()
	}},
	{"second genesis", GenesisAgain, "entry 2", then(func(w *world) { w.append(1, audit.KindGenesis, w.genesis.Encode()) })},

	// The checkpoint.
	{"no checkpoint", CheckpointMissing, "vault 1", recopied(func(w *world, cs []Copy) []Copy { cs[0].Checkpoint = nil; return cs })},
	{"checkpoint undecodable", CheckpointForm, "ends early", recopied(func(w *world, cs []Copy) []Copy {
		cs[0].Checkpoint = cs[0].Checkpoint[:100]
		return cs
	})},
	{"checkpoint by a foreign HSM", CheckpointForeign, "HSM signature", func(w *world) []Copy {
		w.history()
		w.vaults[1].decision, _ = p256Key(w.t)
		return w.copies()
	}},
	{"checkpoint by a foreign log key", CheckpointForeign, "log key", func(w *world) []Copy {
		w.history()
		w.vaults[1].log, _ = edKey(w.t)
		return w.copies()
	}},
	{"checkpoint of another vault", CheckpointForeign, "vault-2, want", recopied(func(w *world, cs []Copy) []Copy { cs[0].Checkpoint = cs[1].Checkpoint; return cs })},
	{"truncated below the checkpoint", CheckpointSize, "cut off", recopied(func(w *world, cs []Copy) []Copy {
		cs[0].Entries = cs[0].Entries[:len(cs[0].Entries)-1]
		return cs
	})},
	{"entry missing", CheckpointRoot, "not those", recopied(func(w *world, cs []Copy) []Copy {
		cs[0].Entries = append(slices.Delete(cs[0].Entries, 5, 6), cs[0].Entries[5])
		return cs
	})},
	{"entries reordered", CheckpointRoot, "not those", recopied(func(w *world, cs []Copy) []Copy {
		cs[0].Entries[5], cs[0].Entries[6] = cs[0].Entries[6], cs[0].Entries[5]
		return cs
	})},
	{"checkpoint of an earlier start", CheckpointBoot, "start 1", func(w *world) []Copy {
		w.history()
		w.vaults[2].boot--
		return w.copies()
	}},

	// Entries and starts.
	{"entry undecodable", EntryForm, "entry 2", then(func(w *world) { w.vaults[1].entries = append(w.vaults[1].entries, []byte{9}) })},
	{"start of another vault", BootOrder, "vault 2", then(func(w *world) { w.append(1, audit.KindBoot, (&audit.Boot{Vault: 2, Counter: 2}).Encode()) })},
	{"start repeated", BootOrder, "start 1 after start 1", then(func(w *world) { w.vaults[1].boot = 0; w.bootVault(1) })},

	// Governance.
	{"change with too few signatures", ChangeBad, "1 of the 2 admins", then(func(w *world) {
		w.append(1, audit.KindChange, w.signedChange(9, "alice").Encode())
	})},
	{"change signed by no admin", ChangeBad, "carol", then(func(w *world) {
		w.append(1, audit.KindChange, w.signedChange(9, "alice", "carol").Encode())
	})},
	{"change skipped", ChangeBad, "missing", then(func(w *world) {
		s := w.signedChange(9, "alice", "bob")
		w.gov = must[*governance.State](w.t)(w.gov.Apply(s, w.now))
		w.append(1, audit.KindChange, w.signedChange(8, "alice", "bob").Encode())
	})},
	{"a change that never came", ChangeTime, "which the log does not hold", then(func(w *world) {
		w.append(1, audit.KindGovernance, (&audit.Governance{Event: audit.ChangeInForce, Seq: 9, Time: w.now}).Encode())
	})},
	{"two changes with one number", ChangeForked, "another one than in the log of vault 1", then(func(w *world) {
		w.append(1, audit.KindChange, w.signedChange(8, "alice", "bob").Encode())
		w.append(2, audit.KindChange, w.signedChange(9, "alice", "bob").Encode())
	})},

	// Keys.
	{"order by no admin", KeyOrder, "not an admin", keyed(func(w *world, k *audit.KeyEntry) {
		o := w.order()
		o.Author, o.Key = "carol", w.key("carol")
		k.Order = w.signOrder(o)
	})},
	{"order's signature", KeyOrder, "does not verify", keyed(func(w *world, k *audit.KeyEntry) {
		o := w.order()
		o.Created++
		k.Order = o.Encode()
	})},
	{"another name than ordered", KeyOrder, "ordered was", keyed(func(w *world, k *audit.KeyEntry) { k.Name = "other" })},
	{"another threshold than ordered", KeyOrder, "3 of [1 2 3]; made was", keyed(func(w *world, k *audit.KeyEntry) {
		o := w.order()
		o.Threshold = 3
		k.Order = w.signOrder(o)
	})},
	{"other parties than ordered", KeyOrder, "2 of [1 2]; made was", keyed(func(w *world, k *audit.KeyEntry) {
		o := w.order()
		o.Parties = []uint16{1, 2}
		k.Order = w.signOrder(o)
	})},
	{"another purpose than ordered", KeyOrder, "ordered was", keyed(func(w *world, k *audit.KeyEntry) {
		k.Certificate = w.recert(func(c *dkg.Certificate) { c.Purpose = "other" }, 1, 2, 3)
	})},
	{"a key that was dealt, not generated", KeyOrder, "imported", keyed(func(w *world, k *audit.KeyEntry) {
		k.Certificate = w.recert(func(c *dkg.Certificate) { c.Origin = dkg.Imported }, 1, 2, 3)
	})},
	{"a key of another suite", KeyOrder, "FROST", keyed(func(w *world, k *audit.KeyEntry) {
		k.Certificate = w.recert(func(c *dkg.Certificate) { c.Suite = mpc.FROSTSecp256k1 }, 1, 2, 3)
	})},
	{"another epoch than the first", EntryForm, "epoch 2", keyed(func(w *world, k *audit.KeyEntry) {
		k.Certificate = w.recert(func(c *dkg.Certificate) { c.Epoch = 2 }, 1, 2, 3)
	})},
	{"certificate lacks a vault", KeySigners, "lacks", keyed(func(w *world, k *audit.KeyEntry) { k.Certificate = w.recert(keep, 1, 2) })},
	{"certificate signed by another device", KeySigners, "participant 3", keyed(func(w *world, k *audit.KeyEntry) {
		w.vaults[3].identity, _ = p256Key(w.t)
		k.Certificate = w.recert(keep, 1, 2, 3)
	})},
	{"entry names another key", KeyDiffers, "its certificate makes", keyed(func(w *world, k *audit.KeyEntry) { k.Key[0]++ })},
	{"one wallet, two keys", KeyDiffers, "elsewhere", then(func(w *world) {
		w.keygen()
		k := w.keyEntry()
		k.Certificate = w.recert(func(c *dkg.Certificate) { c.SID[0]++ }, 1, 2, 3)
		k.Key = must[*dkg.Certificate](w.t)(dkg.DecodeCertificate(k.Certificate)).KeyID()
		w.append(2, audit.KindKey, k.Encode())
	})},
	{"one key, two orders", KeyDiffers, "by another order", then(func(w *world) {
		w.keygen()
		o := w.order()
		o.Created++
		k := w.keyEntry()
		k.Order = w.signOrder(o)
		w.append(2, audit.KindKey, k.Encode())
	})},
	{"one key, two names", KeyDiffers, "by another order", then(func(w *world) {
		w.keygen()
		o := w.order()
		o.Name = "other"
		k := w.keyEntry()
		k.Name, k.Order = "other", w.signOrder(o)
		w.append(2, audit.KindKey, k.Encode())
	})},

	// Decisions.
	{"request differs from bundle", DecisionRequest, "its bundle holds", paid(only(1, func(d *audit.Decision) { d.Request[0]++ }))},
	{"change that is not there yet", DecisionState, "has reached change 0", paid(only(1, func(d *audit.Decision) { d.GovernanceSeq = 1 }))},
	{"another head", DecisionState, "names", paid(only(1, func(d *audit.Decision) { d.GovernanceHead[0]++ }))},
	{"another policy", DecisionState, "policy", paid(only(1, func(d *audit.Decision) { d.PolicyRoot[0]++ }))},
	{"another roster", DecisionState, "roster", paid(only(1, func(d *audit.Decision) { d.RosterRoot[0]++ }))},
	{"policy of before a change", DecisionState, "after change 1 had come into force", then(func(w *world) {
		w.keygen()
		old := w.gov
		w.change(5)
		w.gov = old
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
	})},
	{"key that the log does not hold", DecisionKey, "not in the log", then(func(w *world) {
		body := w.keyEntry().Encode()
		w.append(1, audit.KindKey, body)
		w.append(3, audit.KindKey, body)
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
	})},
	{"key that nobody holds", DecisionKey, "not in the log", paid(only(1, func(d *audit.Decision) { d.Key[0]++ }))},
	{"request for another wallet", DecisionKey, "the request is of wallet", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		p.bundle.Request.Wallet[0]++
		p.bundle.ProposeSignature = signEd(w.people["carol"], request.ProposeStatement(p.bundle.Request.ID()))
		w.pay(p, []uint16{1, 2}, hooks{})
	})},
	{"another epoch", DecisionKey, "epoch 2", paid(only(1, func(d *audit.Decision) { d.Epoch = 2 }))},
	{"allowed without a session", DecisionKey, "no R0", paid(only(1, func(d *audit.Decision) { d.R0Hash = [32]byte{} }))},
	{"a cold wallet without the approval key", DecisionApproval, "signs with the approvers' signatures only", coldly(func(_ *world, d *audit.Decision) { d.Approval = signature.Signature{} })},
	{"another request's approval", DecisionApproval, "does not verify", coldly(func(w *world, d *audit.Decision) {
		d.Approval = signP256(w.t, w.vaults[3].approval, audit.ApprovedStatement(w.gov.Cluster, 3, [32]byte{1}))
	})},
	{"another vault's approval", DecisionApproval, "does not verify", coldly(func(w *world, d *audit.Decision) {
		d.Approval = signP256(w.t, w.vaults[3].approval, audit.ApprovedStatement(w.gov.Cluster, 2, d.Request))
	})},
	{"another cluster's approval", DecisionApproval, "does not verify", coldly(func(w *world, d *audit.Decision) {
		d.Approval = signP256(w.t, w.vaults[3].approval, audit.ApprovedStatement([32]byte{}, 3, d.Request))
	})},
	{"the decision key approves", DecisionApproval, "does not verify", coldly(func(w *world, d *audit.Decision) {
		d.Approval = signP256(w.t, w.vaults[3].decision, audit.ApprovedStatement(w.gov.Cluster, 3, d.Request))
	})},
	{"a vault without approval key approves", DecisionApproval, "has no approval key", paid(hooks{decision: func(d *audit.Decision, _ uint16) {
		d.Approval = signature.Signature{Algorithm: signature.P256, Bytes: make([]byte, 64)}
	}})},
	{"a wrong approval that nobody demands", DecisionApproval, "does not verify", then(func(w *world) {
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{2, 3}, hooks{decision: func(d *audit.Decision, vault uint16) {
			if vault == 3 {
				d.Approval = signature.Signature{Algorithm: signature.P256, Bytes: make([]byte, 64)}
			}
		}})
	})},
	{"allowed above a limit", LimitExceeded, "at 2 (in the limit's smallest unit) of 1", paid(only(1, func(d *audit.Decision) {
		d.Limits = []audit.LimitUse{{Name: "daily", Used: *new(chain.Amount).SetUint64(2), Max: *new(chain.Amount).SetUint64(1)}}
	}))},
	{"attempt allowed twice", DecisionRepeated, "already", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		w.pay(p, []uint16{1, 2}, hooks{})
		w.attempt--
		w.appendEntry(1, w.decide(1, p, w.nextAttempt(), []uint16{1, 2}).Entry())
	})},
	{"unsigned approval counted", DecisionVerdict, "identity.signature", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(3), 0, "alice")
		p.bundle.Approvals[0].Expires++
		w.pay(p, []uint16{1, 2}, hooks{decision: allow("large")})
	})},
	{"nobody approved", DecisionVerdict, "policy.approvals", then(func(w *world) {
		w.keygen()
		w.pay(w.payment(known, ether(3), 0), []uint16{1, 2}, hooks{decision: allow("large")})
	})},
	{"forged proposal", DecisionVerdict, "identity.signature", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		p.bundle.ProposeSignature = signEd(w.people["alice"], request.ProposeStatement(p.bundle.Request.ID()))
		w.pay(p, []uint16{1, 2}, hooks{decision: allow("small")})
	})},
	{"recipient swapped in the transaction", DecisionVerdict, "recipient", then(func(w *world) {
		w.keygen()
		w.pay(w.payment(known, ether(1), 0).with(w, stranger, ether(1), 0), []uint16{1, 2}, hooks{decision: allow("small")})
	})},
	{"recipient outside policy", DecisionVerdict, "policy.default", then(func(w *world) {
		w.keygen()
		w.pay(w.payment(stranger, ether(1), 0), []uint16{1, 2}, hooks{decision: allow("small")})
	})},
	{"expired request", DecisionVerdict, "request.expired", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		w.now += 4_000_000
		w.pay(p, []uint16{1, 2}, hooks{decision: allow("small")})
	})},
	{"another rule", DecisionVerdict, `rule "large"`, paid(only(1, func(d *audit.Decision) { d.Rule = "large" }))},
	{"refused although allowed", DecisionVerdict, "refuse, policy.default", paid(only(1, func(d *audit.Decision) { d.Allow, d.Code, d.Rule = false, "policy.default", "" }))},
	{"refused for no reason", DecisionVerdict, "allow by rule", paid(only(1, func(d *audit.Decision) { d.Allow = false }))},
	{"transaction not canonical", DecisionVerdict, "canonical", func(w *world) []Copy {
		w.codecs = []chain.Codec{lenient{}}
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, only(1, func(d *audit.Decision) { d.Unsigned = append(d.Unsigned, 0) }))
		return w.copies()
	}},
	{"refused for another reason", DecisionVerdict, "policy.guard", then(func(w *world) {
		w.keygen()
		d := w.decide(1, w.payment(stranger, ether(1), 0), w.nextAttempt(), []uint16{1, 2})
		d.Code = "policy.guard"
		w.appendEntry(1, d.Entry())
	})},
	{"version conflict claimed where policy refuses", DecisionVerdict, "version.conflict", then(func(w *world) {
		w.keygen()
		d := w.decide(1, w.payment(stranger, ether(1), 0), w.nextAttempt(), []uint16{1, 2})
		d.Code = "version.conflict"
		w.appendEntry(1, d.Entry())
	})},
	{"version conflict that allows", DecisionVerdict, "allow by rule", paid(only(1, func(d *audit.Decision) { d.Allow, d.Code, d.Rule = false, "version.conflict", "small" }))},
	{"signers: too few", DecisionVerdict, "sign.signers", paid(only(1, func(d *audit.Decision) { d.Parties = []uint16{1} }))},
	{"signers: without the vault", DecisionVerdict, "sign.signers", paid(only(1, func(d *audit.Decision) { d.Parties = []uint16{2, 3} }))},
	{"signers: not of the key", DecisionVerdict, "sign.signers", paid(only(1, func(d *audit.Decision) { d.Parties = []uint16{1, 4} }))},
	{"sender is not the wallet", DecisionVerdict, "request.sender", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		p.bundle.Request.Sender = testChain + ":" + stranger.String()
		p.bundle.ProposeSignature = signEd(w.people["carol"], request.ProposeStatement(p.bundle.Request.ID()))
		w.pay(p, []uint16{1, 2}, hooks{decision: allow("small")})
	})},
	{"chain that nobody can read", DecisionVerdict, "request.chain", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		p.bundle.Request.Chain, p.bundle.Request.Sender = "other:1", "other:1:abc"
		p.bundle.ProposeSignature = signEd(w.people["carol"], request.ProposeStatement(p.bundle.Request.ID()))
		w.pay(p, []uint16{1, 2}, hooks{decision: allow("small")})
	})},

	// Outcomes and witnesses.
	{"share released without a decision", OutcomeDecision, "no earlier decision", then(func(w *world) {
		w.append(1, audit.KindOutcome, (&audit.Outcome{Attempt: [16]byte{7}, Stage: audit.StageReleased}).Encode())
	})},
	{"share released for another request", OutcomeDecision, "no earlier decision", paid(hooks{outcome: func(o *audit.Outcome, id uint16) {
		if id == 1 {
			o.Request[0]++
		}
	}})},
	{"share released without a decision, then with one", OutcomeDecision, "no earlier decision", then(func(w *world) {
		w.append(1, audit.KindOutcome, (&audit.Outcome{Attempt: [16]byte{7}, Stage: audit.StageReleased}).Encode())
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
	})},
	{"two versions that must not be at all", DecisionVerdict, "policy.default", then(func(w *world) {
		w.keygen()
		p := w.payment(stranger, ether(1), 0)
		w.pay(p, []uint16{1, 2}, hooks{decision: allow("small")})
		w.pay(p.with(w, stranger, ether(1), 1), []uint16{1, 2}, hooks{decision: allow("small")})
	})},
	{"two versions, the first must not be", DecisionVerdict, `rule "large"`, then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		w.pay(p, []uint16{1, 2}, hooks{decision: allow("large")})
		w.pay(p.with(w, known, ether(1), 1), []uint16{1, 2}, hooks{})
	})},
	{"two versions, the second must not be", DecisionVerdict, `rule "large"`, then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		w.pay(p, []uint16{1, 2}, hooks{})
		w.pay(p.with(w, known, ether(1), 1), []uint16{1, 2}, hooks{decision: allow("large")})
	})},
	{"ended twice", OutcomeRepeated, "ended twice", then(func(w *world) {
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		w.append(1, audit.KindOutcome, (&audit.Outcome{Attempt: [16]byte{w.attempt}, Stage: audit.StageAborted}).Encode())
	})},
	{"two versions that can both happen", OutcomeConflict, "second version", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		w.pay(p, []uint16{1, 2}, hooks{})
		w.pay(p.with(w, known, ether(1), 1), []uint16{1, 3}, hooks{})
	})},
	{"peer never decided", OutcomePeer, "no decision", func(w *world) []Copy {
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		w.vaults[2].entries = w.vaults[2].entries[:3]
		return w.copies()
	}},
	{"peer decided another session", OutcomePeer, "another session", paid(only(1, func(d *audit.Decision) { d.R0Hash[0]++ }))},
	{"released on no checkpoint", OutcomeWitness, "want those of [2]", paid(hooks{outcome: func(o *audit.Outcome, id uint16) {
		if id == 1 {
			o.Witnessed = nil
		}
	}})},
	{"released on a checkpoint of nobody", OutcomeWitness, "does not exist", paid(hooks{outcome: func(o *audit.Outcome, id uint16) { o.Witnessed[0].Vault = 9 }})},
	{"released on a forged checkpoint", OutcomeWitness, "HSM signature", paid(hooks{outcome: func(o *audit.Outcome, id uint16) { o.Witnessed[0].Time++ }})},
	{"log shorter than a peer saw it", WitnessTruncated, "saw it with 4", func(w *world) []Copy {
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		w.vaults[2].entries = w.vaults[2].entries[:3]
		return w.copies()
	}},
	{"log other than a peer saw it", WitnessForked, "vault 1 saw", func(w *world) []Copy {
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		e := must[*audit.Entry](w.t)(audit.DecodeEntry(w.vaults[2].entries[1]))
		e.Time++
		w.vaults[2].entries[1] = e.Encode()
		return w.copies()
	}},

	// Receipts.
	{"receipt of an unknown key", ReceiptKey, "no log tells", paid(hooks{receipt: func(r *audit.Receipt) { r.Key[0]++ }})},
	{"receipt with another public key", ReceiptKey, "another public key", paid(hooks{receipt: func(r *audit.Receipt) { r.PublicKey = append([]byte{2, r.PublicKey[1] + 1}, r.PublicKey[2:]...) }})},
	{"receipt without decisions", ReceiptDecisions, "good decisions of none", paid(hooks{receipt: func(r *audit.Receipt) { r.Attempt[0]++ }})},
	{"receipt with one decision", ReceiptDecisions, "good decisions of 2", func(w *world) []Copy {
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		w.vaults[1].entries = w.vaults[1].entries[:3]
		return w.copies()
	}},
	{"receipt whose other log is missing", ReceiptDecisions, "no copy of the log of vault 1", recopied(func(w *world, cs []Copy) []Copy { return cs[1:] })},
	{"receipt on decisions of different sessions", ReceiptDecisions, "different sessions", paid(only(1, func(d *audit.Decision) { d.R0Hash[0]++ }))},
	{"receipt on a decision that does not stand", ReceiptDecisions, "does not stand", paid(only(1, func(d *audit.Decision) { d.Rule = "large" }))},
	{"receipt on a decision without checkpoint", ReceiptDecisions, "not covered", func(w *world) []Copy {
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		cs := w.copies()
		cp := w.checkpointAt(1, 3)
		cs[0].Checkpoint = cp.Encode()
		return cs
	}},
	{"receipt of another transaction", ReceiptDecisions, "another request, key or transaction", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		w.pay(p, []uint16{1, 2}, hooks{receipt: func(r *audit.Receipt) {
			r.Unsigned = p.with(w, stranger, ether(1), 0).unsigned
			w.sign(r)
		}})
	})},
	{"receipt of another wallet", ReceiptDecisions, "another request, key or transaction", then(func(w *world) {
		w.keygen()
		o := w.order()
		o.Name = "other"
		k := &audit.KeyEntry{Name: "other", Order: w.signOrder(o), Certificate: w.recert(func(c *dkg.Certificate) { c.SID[0]++ }, 1, 2, 3)}
		k.Key = must[*dkg.Certificate](w.t)(dkg.DecodeCertificate(k.Certificate)).KeyID()
		w.append(1, audit.KindKey, k.Encode())
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{receipt: func(r *audit.Receipt) { r.Key = k.Key }})
	})},
	{"receipt of another request", ReceiptDecisions, "another request, key or transaction", paid(hooks{receipt: func(r *audit.Receipt) { r.Request[0]++ }})},
	{"count without what was given", LimitUncounted, "vault 2 counted 2 ETH", func(w *world) []Copy {
		*w = *limited(w.t)
		w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{})
		w.send(known, 2, 1, told{1: {3, 3}, 2: {2, 3}}, hooks{})
		return w.copies()
	}},
	{"share that was never released", ReceiptReleases, "vault 2", paid(hooks{outcome: func(o *audit.Outcome, id uint16) {
		if id == 2 {
			o.Stage, o.Witnessed = audit.StageAborted, nil
		}
	}})},
	{"share of which the log knows nothing", ReceiptReleases, "vault 2", paid(hooks{outcome: func(o *audit.Outcome, id uint16) {
		if id == 2 {
			o.Attempt[0]++
			o.Stage, o.Witnessed = audit.StageAborted, nil
		}
	}})},
	{"signature of something else", ReceiptSignature, "does not verify", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		w.pay(p, []uint16{1, 2}, hooks{receipt: func(r *audit.Receipt) {
			mine := r.Unsigned
			r.Unsigned = p.with(w, stranger, ether(1), 0).unsigned
			w.sign(r)
			r.Unsigned = mine
		}})
	})},
	{"no signature", ReceiptSignature, "0 signatures", paid(hooks{receipt: func(r *audit.Receipt) { r.Signatures = nil }})},
	{"signature twice", ReceiptSignature, "2 signatures", paid(hooks{receipt: func(r *audit.Receipt) { r.Signatures = append(r.Signatures, r.Signatures[0]) }})},
	{"another transaction id", ReceiptTx, "the transaction's id is", paid(hooks{receipt: func(r *audit.Receipt) { r.TxID = "0x00" }})},
	{"another recovery id", ReceiptTx, "signature", paid(hooks{receipt: func(r *audit.Receipt) { r.Signatures[0].RecoveryID ^= 1 }})},
	{"paid twice", ReceiptConflict, "signed twice", then(func(w *world) {
		w.keygen()
		p := w.payment(known, ether(1), 0)
		w.pay(p, []uint16{1, 2}, hooks{})
		w.pay(p.with(w, known, ether(1), 1), []uint16{2, 3}, hooks{})
	})},

	// Incidents.
	{"clone of a passkey that nobody has", CloneBad, "is not bob's", then(func(w *world) { w.append(1, audit.KindClone, clonedPasskey(7).Encode()) })},
	{"clone that one device can have made", CloneBad, "do not contradict", then(func(w *world) { w.append(1, audit.KindClone, clonedPasskey(8).Encode()) })},
	{"incident with itself", IncidentPeer, "reports vault 1", then(func(w *world) { w.append(1, audit.KindIncident, (&audit.Incident{Peer: 1}).Encode()) })},
	{"incident with nobody", IncidentPeer, "reports vault 9", then(func(w *world) { w.append(1, audit.KindIncident, (&audit.Incident{Peer: 9}).Encode()) })},
}

// allow makes a dishonest vault allow whatever it is asked.
func allow(rule string) func(*audit.Decision, uint16) {
	return func(d *audit.Decision, _ uint16) {
		d.Allow, d.Code, d.Rule, d.R0Hash = true, "", rule, [32]byte{1}
	}
}

// clonedPasskey are two signatures of bob's passkey, with the counters 7 and other.
func clonedPasskey(other uint32) *audit.Clone {
	x := passkeytest.New(signature.WebAuthnP256, "bob", "coffer.example")
	use := func(what byte, counter uint32) signature.Use {
		st := signature.Statement{Domain: "coffer/test/v1", Body: []byte{what}}
		x.Counter = counter - 1
		return signature.Use{Digest: st.Digest(), Signature: x.Sign(st)}
	}
	return &audit.Clone{Principal: "bob", Key: x.Public(), First: use(1, 7), Second: use(2, other)}
}
