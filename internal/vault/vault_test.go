package vault_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

type fixture struct {
	*testing.T
	*sim.World
	x     *sim.Wallet
	nonce uint64
}

func start(t *testing.T, n, threshold int) *fixture {
	t.Helper()
	seed := uint64(len(t.Name()))
	if n == 3 && threshold == 2 { // dealt once for all tests
		w, x, err := sim.Fork(seed)
		if err != nil {
			t.Fatal(err)
		}
		return &fixture{T: t, World: w, x: x}
	}
	w, err := sim.New(seed, n, sim.Roster(seed), sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.Keygen("treasury", threshold)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{T: t, World: w, x: x}
}

// startQuick is for the many tests that the race detector would make ten times as
// slow and in which it has nothing to find: the vault has no goroutine. They run
// without it (tools/test.sh).
func startQuick(t *testing.T) *fixture {
	t.Helper()
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	return start(t, 3, 2)
}

// rounds leaves alone what vaults say of each other's heads: a test that counts the
// messages of a session means the session's.
func (f *fixture) rounds(intercept func(sim.Frame) bool) func(sim.Frame) bool {
	return func(fr sim.Frame) bool {
		if v := f.Parties[fr.To].Vault; v != nil && v.FrameKind(fr.Bytes) == vault.InnerHeads {
			return true
		}
		return intercept(fr)
	}
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) sign(b *request.Bundle, unsigned []byte, signers ...mpc.ID) map[mpc.ID]*cluster.Reply {
	f.Helper()
	replies, err := f.Sign(b, unsigned, signers...)
	f.ok(err)
	return replies
}

// signed demands a signature that verifies.
func (f *fixture) signed(b *request.Bundle, unsigned []byte, signers ...mpc.ID) {
	f.Helper()
	f.combine(b, unsigned, f.sign(b, unsigned, signers...))
}

func (f *fixture) combine(b *request.Bundle, unsigned []byte, replies map[mpc.ID]*cluster.Reply) {
	f.Helper()
	p, err := evm.Codec{}.Prepare(sim.Chain, f.x.Sender, b.Request.Intent, b.Request.MaxFee, unsigned, nil)
	f.ok(err)
	_, err = sim.Combine(f.x, p.Digests[0], replies)
	f.ok(err)
}

// works demands that a fresh small transfer is signed.
func (f *fixture) works(signers ...mpc.ID) {
	f.Helper()
	f.nonce++
	f.signed(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1000+f.nonce), signers...)
}

// refused demands that every reply is a refusal with this code.
func (f *fixture) refused(code string, replies map[mpc.ID]*cluster.Reply) *refusal.Refusal {
	f.Helper()
	var last *refusal.Refusal
	for id, r := range replies {
		if r == nil || r.Outcome != cluster.OutcomeRefused {
			f.Fatalf("vault %d: %s, want a refusal", id, show(r))
		}
		ref, err := refusal.Decode(r.Refusal)
		f.ok(err)
		if ref.Code != code {
			f.Fatalf("vault %d refuses with %s: %s; want %s", id, ref.Code, ref.Detail, code)
		}
		last = ref
	}
	return last
}

// certified demands that the refusal is in the log, under the HSM's signature.
func (f *fixture) certified(id mpc.ID, r *cluster.Reply) *audit.Certificate {
	f.Helper()
	c, err := audit.DecodeCertificate(r.Certificate)
	f.ok(err)
	st, err := governance.Start(f.Genesis)
	f.ok(err)
	g, _ := st.Vault(uint16(id))
	f.ok(c.Verify(audit.Keys{Cluster: f.Genesis.Hash(), Vault: uint16(id), Decision: g.Decision, Log: g.Log}))
	return c
}

func TestSignAllSubsets(t *testing.T) {
	f := start(t, 3, 2)
	f.works(1, 2)
	f.works(2, 3)
	f.works(1, 3)
}

func TestSign3of5(t *testing.T) {
	f := start(t, 5, 3)
	f.works(1, 3, 5)
	f.works(2, 3, 4)
}

// The people's approvals count, and only theirs.
func TestApprovals(t *testing.T) {
	f := start(t, 3, 2)
	big := sim.ETH(5)
	unsigned := sim.Unsigned(sim.Stranger, big, 0)
	f.refused("policy.approvals", f.sign(f.Transfer(f.x, sim.Stranger, big), unsigned, 1, 2))
	f.refused("policy.approvals", f.sign(f.Transfer(f.x, sim.Stranger, big, "bob"), unsigned, 1, 2))
	f.signed(f.Transfer(f.x, sim.Stranger, big, "bob", "carol"), unsigned, 1, 2)
}

// A dishonest coordinator changes what was approved.
func TestSwappedTransaction(t *testing.T) {
	f := start(t, 3, 2)
	b := f.Transfer(f.x, sim.Stranger, sim.ETH(5), "bob", "carol")
	for name, unsigned := range map[string][]byte{
		"recipient": sim.Unsigned(sim.Known, sim.ETH(5), 0),
		"amount":    sim.Unsigned(sim.Stranger, sim.ETH(6), 0),
	} {
		replies := f.sign(b, unsigned, 1, 2)
		r := f.refused("transaction", replies)
		if !strings.Contains(r.Detail, "want") && r.Fix == "" {
			t.Errorf("%s: %q says not what would pass", name, r.Detail)
		}
		for id, rep := range replies {
			if c := f.certified(id, rep); c.Decision.Allow || c.Decision.Request != b.Request.ID() {
				t.Errorf("%s: vault %d certifies %+v", name, id, c.Decision)
			}
		}
	}
}

// An approval of one request is worth nothing for another.
func TestReplayedApproval(t *testing.T) {
	f := start(t, 3, 2)
	first := f.Transfer(f.x, sim.Stranger, sim.ETH(5), "bob", "carol")
	second := f.Transfer(f.x, sim.Stranger, sim.ETH(5))
	second.Approvals = first.Approvals
	for id, r := range f.sign(second, sim.Unsigned(sim.Stranger, sim.ETH(5), 0), 1, 2) {
		if r.Outcome != cluster.OutcomeRefused {
			t.Errorf("vault %d: %s", id, show(r))
		}
	}
	third := f.Transfer(f.x, sim.Stranger, sim.ETH(5), "bob", "carol")
	third.Approvals = append([]request.Approval(nil), first.Approvals...)
	for i := range third.Approvals {
		third.Approvals[i].Request = third.Request.ID() // the signature is of the first
	}
	for id, r := range f.sign(third, sim.Unsigned(sim.Stranger, sim.ETH(5), 0), 1, 2) {
		if r.Outcome != cluster.OutcomeRefused {
			t.Errorf("vault %d: %s", id, show(r))
		}
	}
}

// Two versions of one request that could both happen are never both signed.
func TestTwoNoncesOneAfterTheOther(t *testing.T) {
	f := start(t, 3, 2)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	f.signed(b, sim.Unsigned(sim.Known, sim.ETH(1), 7), 1, 2)
	replies := f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 8), 2, 3)
	// Vault 2 signed the first version; it refuses, and vault 3 gets nothing.
	f.refused("version.conflict", map[mpc.ID]*cluster.Reply{2: replies[2]})
	if r := replies[3]; r != nil && r.Outcome == cluster.OutcomeDone {
		t.Errorf("vault 3 gave a share: %s", show(r))
	}
	// The same nonce with a higher fee excludes the first: it is signed.
	f.ok(f.Tick(30_000))
	f.signed(b, unsignedFee(sim.Known, sim.ETH(1), 7, 30_000_000_000), 2, 3)
}

func unsignedFee(to evm.Address, amount chain.Amount, nonce, fee uint64) []byte {
	tx, err := evm.DecodeUnsigned(sim.Unsigned(to, amount, nonce))
	if err != nil {
		panic(err)
	}
	tx.FeeCap.SetUint64(fee)
	b, err := tx.Encode()
	if err != nil {
		panic(err)
	}
	return b
}

// The same with both asked at once, in every order of delivery of the commands.
func TestTwoNoncesAtOnce(t *testing.T) {
	f := start(t, 3, 2)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	a, err := f.StartSign(b, sim.Unsigned(sim.Known, sim.ETH(1), 7), 1, 2)
	f.ok(err)
	c, err := f.StartSign(b, sim.Unsigned(sim.Known, sim.ETH(1), 8), 2, 3)
	f.ok(err)
	f.ok(f.Settle())
	f.ok(f.Tick(30_000))
	f.ok(f.Settle())
	done := 0
	for _, ids := range []map[mpc.ID]uint64{a, c} {
		all := true
		for _, n := range ids {
			r := f.Replies[n]
			all = all && r != nil && r.Outcome == cluster.OutcomeDone
		}
		if all {
			done++
		}
	}
	if done > 1 {
		t.Fatal("both versions were signed")
	}
}

// An attempt id serves once.
func TestPitfall06_AttemptReused(t *testing.T) {
	f := start(t, 3, 2)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	c := &cluster.Command{Kind: cluster.CommandSign, Attempt: f.Attempt(), Body: b.Encode(), Unsigned: sim.Unsigned(sim.Known, sim.ETH(1), 1), Signers: []uint16{1, 2}}
	for round := range 2 {
		replies := map[mpc.ID]*cluster.Reply{}
		ids := map[mpc.ID]uint64{}
		for _, id := range []mpc.ID{1, 2} {
			n, err := f.Command(id, c)
			f.ok(err)
			ids[id] = n
		}
		f.ok(f.Settle())
		for id, n := range ids {
			replies[id] = f.Replies[n]
		}
		if round == 0 {
			f.combine(b, c.Unsigned, replies)
		} else {
			f.refused("sign.attempt", replies)
		}
	}
}

// A failed check halts the pair, durably, before anything else leaves; others
// are not touched.
func TestPitfall01_QuarantineIsDurable(t *testing.T) {
	f := start(t, 3, 2)
	f.Parties[1].Vault.CorruptPair(2)
	replies := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	if r := replies[2]; r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Quarantine) || len(r.Culprits) != 1 || r.Culprits[0] != 1 {
		t.Fatalf("vault 2 says %s, want the quarantine of vault 1", show(r))
	}
	if !f.Parties[2].Vault.Quarantined(1) || f.Parties[2].Vault.PairReady(1) {
		t.Fatal("vault 2 did not halt the pair, or keeps its seeds")
	}
	f.Crash(2)
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.ok(f.Tick(1000))
	f.ok(f.Settle())
	if !f.Parties[2].Vault.Quarantined(1) || f.Parties[2].Vault.PairReady(1) {
		t.Fatal("the quarantine did not survive a restart")
	}
	r := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 2), 1, 2)[2]
	if r.Outcome != cluster.OutcomeAborted || !strings.Contains(r.Detail, "quarantine") {
		t.Fatalf("vault 2 says %s", show(r))
	}
	f.works(2, 3)
	f.works(1, 3)
}

// The quarantine is lost when the writes are lost: then nothing of that step may
// have left either.
func TestPitfall05_NothingLeavesBeforeTheFlush(t *testing.T) {
	f := start(t, 3, 2)
	f.Parties[1].Vault.CorruptPair(2)
	sent := 0
	f.OnReady = func(p *sim.Party, r vault.Ready) error {
		for _, w := range r.Writes {
			if p.ID == 2 && strings.HasPrefix(w.Name, "quarantine/") {
				sent = len(r.Messages) // would leave only after the writes
				return sim.ErrCrash
			}
		}
		return nil
	}
	before := len(f.Replies)
	replies := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	f.OnReady = nil
	if replies[2] != nil {
		t.Fatalf("vault 2 answered %s although its record of the quarantine was not durable (%d replies before, %d messages)", show(replies[2]), before, sent)
	}
	// After the restart the pair setup is a fresh one, with another Δ.
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.works(1, 2)
}

// Parallel sessions with a cheater test one bit at most: after the first failure
// nothing of it is looked at.
func TestPitfall02_ParallelCheating(t *testing.T) {
	f := startQuick(t)
	f.Parties[1].Vault.CorruptPair(2)
	var ids []uint64
	for i := range 64 {
		m, err := f.StartSign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), uint64(i)), 1, 2)
		f.ok(err)
		ids = append(ids, m[2])
	}
	f.ok(f.Settle())
	quarantines := 0
	for _, n := range ids {
		switch r := f.Replies[n]; {
		case r == nil:
			t.Fatal("a session hangs")
		case r.Outcome == cluster.OutcomeDone:
			t.Fatal("a share went to a cheater")
		case r.Class == uint8(mpc.Quarantine):
			quarantines++
		}
	}
	if quarantines != 1 {
		t.Errorf("%d checks were answered, want 1", quarantines)
	}
}

// Pair setups are independent of each other and made afresh by every start.
func TestPitfall28_PairSetupIsNeverTheSame(t *testing.T) {
	f := start(t, 3, 2)
	seen := map[[16]byte]string{}
	note := func(when string) {
		for _, a := range f.IDs {
			for _, b := range f.IDs {
				if a == b {
					continue
				}
				d := f.Parties[a].Vault.Delta(b)
				if old, dup := seen[d]; dup && !strings.HasSuffix(old, fmt.Sprintf("%d-%d", a, b)) {
					t.Errorf("Δ of %s again at %s %d-%d", old, when, a, b)
				}
				seen[d] = fmt.Sprintf("%s %d-%d", when, a, b)
			}
		}
	}
	note("start")
	n := len(seen)
	if n != 6 {
		t.Fatalf("%d different Δ, want 6", n)
	}
	disk := f.Parties[2].Disk.Clone()
	for i := range 3 {
		f.Crash(2)
		f.Parties[2].Disk = disk.Clone() // the host restores a snapshot
		before := f.Parties[2].Vault
		if before != nil {
			t.Fatal("still up")
		}
		if err := f.Restart(2); err != nil {
			t.Fatal(err)
		}
		f.ok(f.Settle())
		if f.Parties[2].Vault.PairReady(1) && i > 0 {
			// Peers know a newer start of vault 2: its hello is refused.
			t.Errorf("a rolled-back vault got a channel")
		}
	}
}

func TestKilledVault(t *testing.T) {
	f := start(t, 3, 2)
	f.Crash(3)
	f.works(1, 2)
	f.Crash(2)
	replies := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 50), 1, 2)
	if replies[1] != nil {
		t.Fatalf("vault 1 answers %s before its peer does", show(replies[1]))
	}
	f.ok(f.Tick(30_000))
	f.ok(f.Restart(2))
	f.ok(f.Restart(3))
	f.ok(f.Settle())
	f.works(1, 2)
	f.works(2, 3)
}

// A crash before and after every durable write of a signature leaves a cluster
// that signs, and a request that can be signed again.
func TestCrashAtEveryWrite(t *testing.T) {
	for _, before := range []bool{true, false} {
		f := startQuick(t) // one cluster for all crashes: each must leave a sound one
		for k := 1; ; k++ {
			n, crashed := 0, false
			f.OnReady = func(p *sim.Party, r vault.Ready) error {
				if p.ID != 2 || len(r.Writes) == 0 || crashed {
					return nil
				}
				if n++; n < k {
					return nil
				}
				if crashed = true; !before {
					p.Disk.Write(r) // durable, but nothing below the writes happened
				}
				return sim.ErrCrash
			}
			b := f.Transfer(f.x, sim.Known, sim.ETH(1))
			unsigned := sim.Unsigned(sim.Known, sim.ETH(1), uint64(k))
			f.sign(b, unsigned, 1, 2)
			f.OnReady = nil
			if !crashed {
				if k < 4 {
					t.Fatalf("a signature took %d writes only", k-1)
				}
				break
			}
			f.ok(f.Tick(30_000))
			if err := f.Restart(2); err != nil {
				t.Fatalf("crash at write %d (before: %v): %v", k, before, err)
			}
			f.ok(f.Settle())
			f.signed(b, unsigned, 1, 2)
			f.signed(b, unsigned, 2, 3)
		}
	}
}

// What the host does to the disk is found at the next start.
func TestTamperedDisk(t *testing.T) {
	f := start(t, 3, 2)
	older := f.Parties[2].Disk.Clone()
	f.works(1, 2)
	now := f.Parties[2].Disk
	f.Crash(2)
	cases := map[string]func(d *sim.Disk){
		"key record removed":     func(d *sim.Disk) { removeRecord(d, "key/") },
		"manifest removed":       func(d *sim.Disk) { removeRecord(d, "manifest") },
		"root removed":           func(d *sim.Disk) { removeRecord(d, "root") },
		"ledger event removed":   func(d *sim.Disk) { removeRecord(d, "ledger/2/") },
		"older manifest":         func(d *sim.Disk) { d.Records["manifest"] = older.Records["manifest"] },
		"record of another name": func(d *sim.Disk) { d.Records["log-key"] = d.Records["genesis"] },
		"log entry edited":       func(d *sim.Disk) { d.Entries[1][len(d.Entries[1])-1] ^= 1 },
		"log entry edited, no checkpoint": func(d *sim.Disk) {
			d.Entries[1][len(d.Entries[1])-1] ^= 1
			d.Checkpoint = nil
		},
		"log shortened":     func(d *sim.Disk) { d.Entries = d.Entries[:len(d.Entries)-1] },
		"log lengthened":    func(d *sim.Disk) { d.Entries = append(d.Entries, d.Entries[0]) },
		"checkpoint edited": func(d *sim.Disk) { d.Checkpoint[20] ^= 1 },
		"byte flipped":      func(d *sim.Disk) { d.Records["genesis"][30] ^= 1 },
	}
	for name, tamper := range cases {
		t.Run(name, func(t *testing.T) {
			d := now.Clone()
			tamper(d)
			f.Parties[2].Disk = d
			err := f.Restart(2)
			if err == nil {
				err = f.Settle()
			}
			if err == nil || f.Parties[2].Vault != nil {
				t.Fatal("the vault started")
			}
			if !strings.Contains(err.Error(), "disk") && !strings.Contains(err.Error(), "decode") && !strings.Contains(err.Error(), "record") && !strings.Contains(err.Error(), "log") {
				t.Errorf("%q does not say what is wrong", err)
			}
		})
	}
	f.Parties[2].Disk = now
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.works(1, 2)
}

func removeRecord(d *sim.Disk, prefix string) {
	for n := range d.Records {
		if strings.HasPrefix(n, prefix) {
			delete(d.Records, n)
			return
		}
	}
	panic("no record " + prefix)
}

// Another device does not open the disk.
func TestForeignDevice(t *testing.T) {
	f := start(t, 3, 2)
	f.Crash(1)
	f.Crash(2)
	f.Parties[1].Disk, f.Parties[2].Disk = f.Parties[2].Disk, f.Parties[1].Disk
	if err := f.Restart(1); err == nil {
		if err = f.Settle(); err == nil {
			t.Fatal("vault 1 opened vault 2's disk")
		}
	}
}

// The device fails in the middle: a clear answer, nothing lost.
func TestDeviceRemoved(t *testing.T) {
	f := start(t, 3, 2)
	f.Parties[2].Device.Down = true
	replies := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	if r := replies[2]; r == nil || r.Outcome != cluster.OutcomeAborted || !strings.Contains(r.Detail, "device") {
		t.Fatalf("vault 2 says %s", show(replies[2]))
	}
	f.Parties[2].Device.Down = false
	f.ok(f.Tick(30_000))
	f.works(1, 2)
}

// Clocks further apart than 30 s do not sign together.
func TestClockSkew(t *testing.T) {
	f := start(t, 3, 2)
	_ = f
	now := f.Now
	f.Now += 40_000
	f.ok(f.Step(1, vault.Input{}))
	f.Now = now
	r := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	for id, rep := range r {
		if rep == nil || rep.Outcome != cluster.OutcomeAborted || !strings.Contains(rep.Detail, "clock") {
			t.Errorf("vault %d says %s", id, show(rep))
		}
	}
}

// Garbage on the wire is dropped; it ends nothing.
func TestGarbageFrames(t *testing.T) {
	f := start(t, 3, 2)
	good := 0
	f.Intercept = func(fr sim.Frame) bool {
		stranger := append([]byte(nil), fr.Bytes...)
		stranger[3] = 9 // from a vault that there is not
		for _, b := range [][]byte{nil, {}, {1}, stranger, fr.Bytes[:len(fr.Bytes)/2], append(append([]byte(nil), fr.Bytes...), 0), flip(fr.Bytes, len(fr.Bytes)-1), flip(fr.Bytes, 0), flip(fr.Bytes, 8)} {
			if err := f.Step(fr.To, vault.Input{Frame: b}); err != nil {
				t.Fatal(err)
			}
		}
		good++
		return true
	}
	f.works(1, 2)
	if good == 0 {
		t.Fatal("nothing was intercepted")
	}
}

// Repeated frames change nothing.
func TestRepeatedFrames(t *testing.T) {
	f := start(t, 3, 2)
	f.Intercept = func(fr sim.Frame) bool {
		f.Frames = append(f.Frames, fr)
		return true
	}
	f.works(1, 2)
	f.works(1, 3)
}

// The last message of a pair setup gets lost on the way from the vault with the
// lower id, which is done and waits for nothing: the other one begins again.
func TestLostPairConfirmation(t *testing.T) {
	const confirmation = 140 // bytes of a frame that holds message 5
	f := start(t, 3, 2)
	f.Crash(2)
	lost := 0
	f.Intercept = func(fr sim.Frame) bool {
		if fr.From == 1 && fr.To == 2 && len(fr.Bytes) == confirmation {
			lost++
			return false
		}
		return true
	}
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.Intercept = nil
	if lost != 1 || !f.Parties[1].Vault.PairReady(2) || f.Parties[2].Vault.PairReady(1) {
		t.Fatalf("%d messages lost, want the one that leaves vault 1 done and vault 2 waiting", lost)
	}
	for range 10 {
		f.ok(f.Tick(5_000))
		f.ok(f.Settle())
	}
	if !f.Parties[1].Vault.PairReady(2) || !f.Parties[2].Vault.PairReady(1) {
		t.Fatal("the pair never gets a setup again")
	}
	f.works(1, 2)
}

// show is a reply without its bytes.
func show(r *cluster.Reply) string {
	if r == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v class %d culprits %v: %s", r.Outcome, r.Class, r.Culprits, r.Detail)
}

func flip(b []byte, i int) []byte {
	c := append([]byte(nil), b...)
	c[i] ^= 1
	return c
}
