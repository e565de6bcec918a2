package audit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"golang.org/x/mod/sumdb/note"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/signature"
)

// signer holds a vault's real keys.
type signer struct {
	keys Keys
	hsm  *ecdsa.PrivateKey
	log  ed25519.PrivateKey
}

func newSigner(t testing.TB, vault uint16) *signer {
	t.Helper()
	hsm, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, log, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := hsm.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &signer{
		keys: Keys{
			Cluster: fill(7), Vault: vault,
			Decision: signature.PublicKey{Algorithm: signature.P256, Key: string(point)},
			Log:      signature.PublicKey{Algorithm: signature.Ed25519, Key: string(pub)},
		},
		hsm: hsm, log: log,
	}
}

func (s *signer) sign(t testing.TB, c Checkpoint) *SignedCheckpoint {
	t.Helper()
	d := c.Statement().Digest()
	r, z, err := ecdsa.Sign(rand.Reader, s.hsm, d[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	z.FillBytes(raw[32:])
	sig, err := signature.NormalizeP256(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &SignedCheckpoint{c, sig, signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(s.log, []byte(c.Text()))}}
}

func (s *signer) checkpoint(l *Log) Checkpoint {
	return Checkpoint{Cluster: s.keys.Cluster, Vault: s.keys.Vault, Size: l.Size(), Root: l.Root(), Ledger: fill(1), Quarantine: fill(2), Boot: 3, Time: 4}
}

func fill(b byte) (out [32]byte) {
	for i := range out {
		out[i] = b
	}
	return out
}

func sampleDecision() *Decision {
	return &Decision{
		Attempt: [16]byte{1}, Request: fill(2), Bundle: []byte("bundle"), Unsigned: []byte("tx"), Key: fill(3), Epoch: 4,
		Parties: []uint16{1, 3}, R0Hash: fill(5), GovernanceSeq: 6, GovernanceHead: fill(7), PolicyRoot: fill(8),
		RosterRoot: fill(9), LedgerHead: fill(10), Time: 11, Allow: false, Rule: "r", Detail: "d", Fix: "f", Code: "policy.rule",
	}
}

// limitedDecision has what version 3 added.
func limitedDecision() *Decision {
	d := sampleDecision()
	d.Allow, d.Code, d.BreakGlass, d.Witnesses = true, "", true, []uint16{2, 5}
	d.Limits = []LimitUse{{Name: "a day", Used: *uint256.NewInt(7), Max: *uint256.NewInt(1 << 40)}, {Name: "all", Max: *new(uint256.Int).SetAllOne()}}
	return d
}

// certificate builds a log around a decision, with entries before and after.
func (s *signer) certificate(t testing.TB) (*Certificate, *Log) {
	t.Helper()
	l, d := new(Log), sampleDecision()
	for i := range 5 {
		l.Append(fmt.Append(nil, "before ", i))
	}
	index := l.Append(d.Entry().Encode())
	l.Append([]byte("after"))
	c, err := Certify(l, d, index, s.sign(t, s.checkpoint(l)))
	if err != nil {
		t.Fatal(err)
	}
	return c, l
}

// codec is one type's two directions, for the canonical law.
type codec struct {
	name   string
	sample []byte
	again  func([]byte) ([]byte, error) // Encode(Decode(b))
}

func recode[T any, P interface {
	*T
	Encode() []byte
}](decode func([]byte) (*T, error)) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		v, err := decode(b)
		if err != nil {
			return nil, err
		}
		return P(v).Encode(), nil
	}
}

func codecs(t testing.TB) []codec {
	c, _ := newSigner(t, 2).certificate(t)
	return []codec{
		{"entry", c.Decision.Entry().Encode(), recode(DecodeEntry)},
		{"decision", c.Decision.Encode(), recode(DecodeDecision)},
		{"allowing decision", (&Decision{Allow: true, Rule: "small", Parties: []uint16{1, 2}}).Encode(), recode(DecodeDecision)},
		{"decision with limits", limitedDecision().Encode(), recode(DecodeDecision)},
		{"approved decision", (&Decision{Allow: true, Approval: signature.Signature{Algorithm: signature.P256, Bytes: make([]byte, 64)}}).Encode(), recode(DecodeDecision)},
		{"checkpoint", c.Checkpoint.Checkpoint.Encode(), recode(DecodeCheckpoint)},
		{"signed checkpoint", c.Checkpoint.Encode(), recode(DecodeSignedCheckpoint)},
		{"certificate", c.Encode(), recode(DecodeCertificate)},
		{"boot", (&Boot{Vault: 1, Counter: 2, Software: "coffer 1", Device: "SoftHSM", Hash: [32]byte{9}, Isolation: "seccomp: on"}).Encode(), recode(DecodeBoot)},
		{"key", (&KeyEntry{fill(1), "main", []byte("cert"), []byte("order")}).Encode(), recode(DecodeKeyEntry)},
		{"receipt", (&Receipt{[16]byte{1}, fill(1), fill(2), []byte("tx"), []chain.Signature{{R: fill(3), S: fill(4), RecoveryID: 1}}, append([]byte{2}, make([]byte, 32)...), "0xab"}).Encode(), recode(DecodeReceipt)},
		{"receipt of Ed25519", (&Receipt{[16]byte{1}, fill(1), fill(2), []byte("tx"), []chain.Signature{{R: fill(3), S: fill(4)}}, make([]byte, 32), "5K"}).Encode(), recode(DecodeReceipt)},
		{"epoch", (&EpochEntry{fill(1), "main", []byte("cert"), []byte("commit")}).Encode(), recode(DecodeEpochEntry)},
		{"outcome", (&Outcome{[16]byte{1}, fill(1), StageAborted, "why", []uint16{2, 3}, []SignedCheckpoint{c.Checkpoint}}).Encode(), recode(DecodeOutcome)},
		{"stub", (&Stub{1, KindIncident, MaxLeaf + 1, fill(1)}).Encode(), recodeStub},
		{"cosigned checkpoint", (&CosignedCheckpoint{c.Checkpoint, []Cosignature{{Name: "a"}, {Name: "b", Time: 3}}}).Encode(), recode(DecodeCosignedCheckpoint)},
		{"cosignature", (&Cosignature{"coffer/07/vault-1", 9, [64]byte{1}}).Encode(), recode(DecodeCosignature)},
		{"incident", (&Incident{2, "attributed", "round 2", "bad", []byte("e")}).Encode(), recode(DecodeIncident)},
	}
}

func TestCanonicalLaw(t *testing.T) {
	for _, c := range codecs(t) {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.again(c.sample)
			if err != nil || !bytes.Equal(got, c.sample) {
				t.Fatalf("sample doesn't come back: %v", err)
			}
			for n := range c.sample {
				if _, err := c.again(c.sample[:n]); err == nil {
					t.Fatalf("cut to %d of %d bytes decodes", n, len(c.sample))
				}
			}
			if _, err := c.again(append(bytes.Clone(c.sample), 0)); err == nil {
				t.Fatal("decodes with a byte too many")
			}
			for i := range c.sample {
				for _, x := range []byte{1, 0x80, 0xff} {
					b := bytes.Clone(c.sample)
					b[i] ^= x
					if got, err := c.again(b); err == nil && !bytes.Equal(got, b) {
						t.Fatalf("byte %d changed: encodes to something else", i)
					}
				}
			}
		})
	}
}

func TestDecodersRefuse(t *testing.T) {
	allowed := sampleDecision()
	allowed.Allow = true
	approved := sampleDecision()
	approved.Approval = signature.Signature{Algorithm: signature.P256, Bytes: make([]byte, 64)}
	unsorted, zero := sampleDecision(), sampleDecision()
	unsorted.Parties, zero.Parties = []uint16{3, 1}, []uint16{0, 1}
	twice := sampleDecision()
	twice.Parties = []uint16{1, 1}
	many := sampleDecision()
	for i := range uint16(17) {
		many.Parties = append(many.Parties[:i], i+1)
	}
	glass, witnessing, unnamed, unordered := sampleDecision(), limitedDecision(), limitedDecision(), limitedDecision()
	glass.BreakGlass = true
	witnessing.Witnesses[0] = witnessing.Parties[0]
	unnamed.Limits[0].Name = ""
	unordered.Limits[0].Name = unordered.Limits[1].Name
	crowded := sampleDecision()
	for i := range maxLimits + 1 {
		crowded.Limits = append(crowded.Limits, LimitUse{Name: fmt.Sprintf("limit %03d", i)})
	}
	s := newSigner(t, 1)
	cp := *s.sign(t, s.checkpoint(new(Log)))
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"allowed with code", "code", second(DecodeDecision(allowed.Encode()))},
		{"refused and approved", "approval", second(DecodeDecision(approved.Encode()))},
		{"parties unsorted", "ascending", second(DecodeDecision(unsorted.Encode()))},
		{"party 0", "ascending", second(DecodeDecision(zero.Encode()))},
		{"party twice", "ascending", second(DecodeDecision(twice.Encode()))},
		{"17 parties", "at most 16", second(DecodeDecision(many.Encode()))},
		{"refused by break-glass", "break-glass", second(DecodeDecision(glass.Encode()))},
		{"a signer as witness", "is a signer", second(DecodeDecision(witnessing.Encode()))},
		{"limit without name", "limits", second(DecodeDecision(unnamed.Encode()))},
		{"limit twice", "limits", second(DecodeDecision(unordered.Encode()))},
		{"65 limits", "at most 64", second(DecodeDecision(crowded.Encode()))},
		{"kind 0", "kind 0", second(DecodeEntry((&Entry{}).Encode()))},
		{"kind 10", "kind 10", second(DecodeEntry((&Entry{Kind: 10}).Encode()))},
		{"stage", "stage", second(DecodeOutcome((&Outcome{Stage: "perhaps"}).Encode()))},
		{"witnessed twice", "witnessed", second(DecodeOutcome((&Outcome{Stage: StageReleased, Witnessed: []SignedCheckpoint{cp, cp}}).Encode()))},
		{"recovery id", "recovery id", second(DecodeReceipt((&Receipt{Signatures: []chain.Signature{{RecoveryID: 4}}}).Encode()))},
		{"vault 0", "vault", second(DecodeCheckpoint((&Checkpoint{}).Encode()))},
		{"size", "size", second(DecodeCheckpoint((&Checkpoint{Vault: 1, Size: MaxSize + 1}).Encode()))},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one that names %q", tt.name, tt.err, tt.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestEncodeCleansText: whatever stands in an explanation, the vault can read its
// own log again, and nobody's terminal obeys it.
func TestEncodeCleansText(t *testing.T) {
	d := sampleDecision()
	d.Detail = strings.Repeat("é", maxText) // two bytes each
	d.Rule = strings.Repeat("x", maxName+1)
	d.Fix = "\x1b[2Jpay \xff"
	got, err := DecodeDecision(d.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Detail) > maxText || !strings.HasPrefix(got.Detail, "éé") || len(got.Rule) > maxName || strings.ContainsRune(got.Fix, 0x1b) {
		t.Fatalf("detail of %d bytes, rule of %d, fix %q", len(got.Detail), len(got.Rule), got.Fix)
	}
	raw := sampleDecision()
	raw.Rule = "AAAA"
	b := bytes.Replace(raw.Encode(), []byte("AAAA"), []byte("A\x1b[A"), 1)
	if _, err := DecodeDecision(b); err == nil {
		t.Fatal("a control character decodes")
	}
}

func TestLogProofs(t *testing.T) {
	const n = 33
	l := new(Log)
	roots := [][32]byte{l.Root()}
	var entries [][]byte
	for i := range n {
		entries = append(entries, fmt.Append(nil, "entry ", i))
		if got := l.Append(entries[i]); got != uint64(i) {
			t.Fatalf("index %d, want %d", got, i)
		}
		roots = append(roots, l.Root())
	}
	if Load(entries).Root() != l.Root() {
		t.Fatal("loaded log has another root")
	}
	if max := 2 * n; len(l.hashes) > max {
		t.Fatalf("%d hashes for %d entries, stated cost is at most %d", len(l.hashes), n, max)
	}
	for size := uint64(1); size <= n; size++ {
		if r, err := l.RootAt(size); err != nil || r != roots[size] {
			t.Fatalf("root at %d: %v", size, err)
		}
		for i := range size {
			p, err := l.Inclusion(i, size)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckInclusion(p, i, size, roots[size], LeafHash(entries[i])); err != nil {
				t.Fatal(err)
			}
			if err := CheckInclusion(p, i, size, roots[size], LeafHash([]byte("other"))); !errors.Is(err, ErrProof) {
				t.Fatalf("another entry is included: %v", err)
			}
			if err := CheckInclusion(append(p, fill(0)), i, size, roots[size], LeafHash(entries[i])); !errors.Is(err, ErrProof) {
				t.Fatalf("longer proof verifies: %v", err)
			}
		}
		for from := range size + 1 {
			p, err := l.Consistency(from, size)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckConsistency(p, from, roots[from], size, roots[size]); err != nil {
				t.Fatalf("%d to %d: %v", from, size, err)
			}
			if err := CheckConsistency(p, from, fill(1), size, roots[size]); !errors.Is(err, ErrProof) {
				t.Fatalf("%d to %d: wrong old root is consistent: %v", from, size, err)
			}
			if err := CheckConsistency(p, from, roots[from], size, fill(1)); from > 0 && !errors.Is(err, ErrProof) {
				t.Fatalf("%d to %d: wrong new root is consistent: %v", from, size, err)
			}
		}
	}
}

// TestLongEntriesHaveStubs: a leaf fits the two bytes of a bundle's length, and stands
// for one entry only.
func TestLongEntriesHaveStubs(t *testing.T) {
	at := func(n int) []byte { return (&Entry{5, KindIncident, make([]byte, n-entryHead)}).Encode() }
	short, long := at(MaxLeaf), at(MaxLeaf+1)
	if !bytes.Equal(Leaf(short), short) {
		t.Fatal("an entry of 65,535 bytes has a stub")
	}
	s, ok, err := DecodeStub(Leaf(long))
	if err != nil || !ok || s.Time != 5 || s.Kind != KindIncident || s.Of(long) != nil {
		t.Fatalf("stub %v, %v", s, err)
	}
	if _, err := DecodeEntry(Leaf(long)); err == nil {
		t.Error("a stub is an entry")
	}
	if _, ok, _ := DecodeStub(short); ok {
		t.Error("an entry is a stub")
	}
	other := bytes.Clone(long)
	other[MaxLeaf] ^= 1
	if LeafHash(long) == LeafHash(other) || s.Of(other) == nil {
		t.Error("two long entries have one leaf")
	}
	for _, n := range []uint32{0, MaxLeaf, MaxBody + entryHead + 1} {
		if _, _, err := DecodeStub((&Stub{Length: n}).Encode()); err == nil {
			t.Errorf("a stub for %d bytes decodes", n)
		}
	}
	l := new(Log)
	l.Append(long)
	if l.Root() != LeafHash(long) {
		t.Error("the tree has another leaf")
	}
}

func recodeStub(b []byte) ([]byte, error) {
	s, ok, err := DecodeStub(b)
	if err != nil || !ok {
		return nil, errors.Join(err, errors.New("no stub"))
	}
	return s.Encode(), nil
}

func FuzzDecodeCosignedCheckpoint(f *testing.F) { fuzz(f, "cosigned checkpoint") }
func FuzzDecodeStub(f *testing.F)               { fuzz(f, "stub") }
func FuzzDecodeCosignature(f *testing.F)        { fuzz(f, "cosignature") }

func TestLogRefuses(t *testing.T) {
	l := Load([][]byte{{1}, {2}})
	empty := new(Log).Root()
	long := make([][32]byte, 80) // the arithmetic of a proof this long never ends at a size that overflows
	for name, err := range map[string]error{
		"inclusion beyond size":     second(l.Inclusion(2, 2)),
		"inclusion at size ahead":   second(l.Inclusion(0, 3)),
		"consistency backwards":     second(l.Consistency(2, 1)),
		"consistency ahead":         second(l.Consistency(1, 3)),
		"root ahead":                second(l.RootAt(3)),
		"check index":               CheckInclusion(nil, 2, 2, fill(0), fill(0)),
		"check huge size":           CheckInclusion(nil, 0, 1<<63, fill(0), fill(0)),
		"check backwards":           CheckConsistency(nil, 2, l.Root(), 1, l.Root()),
		"check huge inclusion":      CheckInclusion(long, 0, 1<<62+1, fill(0), fill(0)),
		"check huge consistency":    CheckConsistency(long, 3, l.Root(), 1<<62+1, l.Root()),
		"check empty with proof":    CheckConsistency([][32]byte{{}}, 0, empty, 2, l.Root()),
		"check empty to other root": CheckConsistency(nil, 0, empty, 0, l.Root()),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCheckpoint(t *testing.T) {
	s, other := newSigner(t, 2), newSigner(t, 2)
	l := Load([][]byte{{1}, {2}, {3}})
	cp := s.sign(t, s.checkpoint(l))
	if err := cp.Verify(s.keys); err != nil {
		t.Fatal(err)
	}
	want := "coffer/0707070707070707/vault-2\n3\n"
	if !strings.HasPrefix(cp.Text(), want) {
		t.Fatalf("text %q, want it to start %q", cp.Text(), want)
	}

	foreignHSM, foreignLog, cluster, vault := s.keys, s.keys, s.keys, s.keys
	foreignHSM.Decision, foreignLog.Log = other.keys.Decision, other.keys.Log
	cluster.Cluster[31]++
	vault.Vault++
	for name, k := range map[string]Keys{"HSM key": foreignHSM, "log key": foreignLog, "cluster": cluster, "vault": vault} {
		if err := cp.Verify(k); err == nil {
			t.Errorf("verifies under another %s", name)
		}
	}
	// An algorithm is never guessed.
	relabelled := *cp
	relabelled.Log.Algorithm = signature.P256
	if err := relabelled.Verify(s.keys); err == nil {
		t.Error("the log's signature verifies under another algorithm's name")
	}
	p256 := s.keys
	p256.Log.Algorithm = signature.P256
	if err := cp.Verify(p256); err == nil {
		t.Error("the log key verifies under another algorithm's name")
	}
	// Every field is under both signatures.
	for i := range cp.Checkpoint.Encode() {
		b := cp.Checkpoint.Encode()
		b[i] ^= 1
		c, err := DecodeCheckpoint(b)
		if err != nil {
			continue
		}
		k := s.keys
		k.Cluster, k.Vault = c.Cluster, c.Vault
		if err := (&SignedCheckpoint{*c, cp.HSM, cp.Log}).Verify(k); err == nil {
			t.Errorf("byte %d of the checkpoint is not signed", i)
		}
		relogged := s.sign(t, *c)
		if err := (&SignedCheckpoint{*c, cp.HSM, relogged.Log}).Verify(k); err == nil {
			t.Errorf("byte %d of the checkpoint is not signed by the HSM", i)
		}
		if err := (&SignedCheckpoint{*c, relogged.HSM, cp.Log}).Verify(k); err == nil {
			t.Errorf("byte %d of the checkpoint is not signed by the log key", i)
		}
	}
}

// TestC2SPClientReadsCheckpoint opens our note with the Go team's client.
func TestC2SPClientReadsCheckpoint(t *testing.T) {
	s := newSigner(t, 1)
	cp := s.sign(t, s.checkpoint(Load([][]byte{{1}})))
	v, err := note.NewVerifier(s.keys.NoteKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(cp.Note(s.keys)), note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	if n.Text != cp.Text() || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 1 {
		t.Fatalf("text %q, %d verified, %d skipped", n.Text, len(n.Sigs), len(n.UnverifiedSigs))
	}
}

func TestCertificate(t *testing.T) {
	s := newSigner(t, 2)
	c, l := s.certificate(t)
	if err := c.Verify(s.keys); err != nil {
		t.Fatal(err)
	}
	got, err := DecodeCertificate(c.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, got); d != "" {
		t.Fatal(d)
	}
	// Every byte of it is under the checkpoint.
	for i, b := 0, c.Encode(); i < len(b); i++ {
		b[i] ^= 1
		if x, err := DecodeCertificate(b); err == nil && x.Verify(s.keys) == nil {
			t.Errorf("byte %d changed: still verifies", i)
		}
		b[i] ^= 1
	}
	if err := c.Verify(newSigner(t, 2).keys); err == nil {
		t.Error("verifies under a foreign vault's keys")
	}
	// A checkpoint that does not cover the decision.
	early := s.checkpoint(l)
	early.Size = c.Index
	early.Root, _ = l.RootAt(c.Index)
	if _, err := Certify(l, &c.Decision, c.Index, s.sign(t, early)); err == nil {
		t.Error("certified by a checkpoint from before the decision")
	}
	wrong := s.checkpoint(l)
	wrong.Root = fill(0)
	if _, err := Certify(l, &c.Decision, c.Index, s.sign(t, wrong)); err == nil {
		t.Error("certified by a checkpoint of another log")
	}
}

func fuzz(f *testing.F, name string) {
	for _, c := range codecs(f) {
		if c.name != name {
			continue
		}
		f.Add(c.sample)
		f.Fuzz(func(t *testing.T, b []byte) {
			if got, err := c.again(b); err == nil && !bytes.Equal(got, b) {
				t.Fatalf("decodes, but encodes to %x", got)
			}
		})
		return
	}
	f.Fatalf("no codec %q", name)
}

func FuzzDecodeEntry(f *testing.F)            { fuzz(f, "entry") }
func FuzzDecodeDecision(f *testing.F)         { fuzz(f, "decision") }
func FuzzDecodeCheckpoint(f *testing.F)       { fuzz(f, "checkpoint") }
func FuzzDecodeSignedCheckpoint(f *testing.F) { fuzz(f, "signed checkpoint") }
func FuzzDecodeCertificate(f *testing.F)      { fuzz(f, "certificate") }
func FuzzDecodeBoot(f *testing.F)             { fuzz(f, "boot") }
func FuzzDecodeEpochEntry(f *testing.F)       { fuzz(f, "epoch") }
func FuzzDecodeKeyEntry(f *testing.F)         { fuzz(f, "key") }
func FuzzDecodeReceipt(f *testing.F)          { fuzz(f, "receipt") }
func FuzzDecodeOutcome(f *testing.F)          { fuzz(f, "outcome") }
func FuzzDecodeIncident(f *testing.F)         { fuzz(f, "incident") }
