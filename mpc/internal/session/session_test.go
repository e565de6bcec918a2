package session_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/session"
)

var want = session.Header{Protocol: session.DKLS23, Round: 1, Session: [32]byte{7}, Epoch: 3}

// message is a genuine one of id, with an echo.
func message(id mpc.ID, edit func(*session.Header)) []byte {
	h := want
	h.From = id
	if edit != nil {
		edit(&h)
	}
	return h.Writer().Fixed(make([]byte, 32)).Fixed([]byte("body")).Bytes()
}

func open(messages map[mpc.ID][]byte) error {
	_, err := session.Open("test", []mpc.ID{2, 3}, session.Box{Messages: messages, Want: want, Echo: new([32]byte)})
	return err
}

func TestHeaderLayout(t *testing.T) {
	h := session.Header{Protocol: session.DKG, Round: 2, Session: [32]byte{0: 0xaa, 31: 0xbb}, Epoch: 0x0102030405060708, From: 0x1112, To: 0x2122}
	b := h.Writer().Bytes()
	want := append([]byte{1, 1, 2, 0xaa}, make([]byte, 30)...)
	want = append(want, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x21, 0x22)
	if !bytes.Equal(b, want) || len(b) != session.HeaderSize {
		t.Errorf("header is\n%x, want\n%x", b, want)
	}
	r := wire.NewReader(b, session.Version)
	if got := session.ReadHeader(r); got != h || r.Done() != nil {
		t.Errorf("header reads as %+v", got)
	}
}

// What a network can cause with genuine messages is benign, and is decided for
// all peers before any of them is blamed.
func TestOrderOfWork(t *testing.T) {
	ok, short, forged := message(2, nil), message(2, nil)[:40], message(3, nil)
	version := slices.Clone(ok)
	version[0] = 2
	echo := message(3, nil)
	echo[session.HeaderSize] ^= 1
	for _, c := range []struct {
		name     string
		two      []byte
		three    []byte
		class    mpc.Class
		culprits []mpc.ID
	}{
		{"all genuine", ok, message(3, nil), 0, nil},
		{"short", short, message(3, nil), mpc.Attributed, []mpc.ID{2}},
		{"too short for the echo", ok[:60], message(3, nil), mpc.Attributed, []mpc.ID{2}},
		{"empty", nil, message(3, nil), mpc.Attributed, []mpc.ID{2}},
		{"version", version, message(3, nil), mpc.Attributed, []mpc.ID{2}},
		{"another author", forged, message(3, nil), mpc.Attributed, []mpc.ID{2}},
		{"both at fault", short, message(2, nil), mpc.Attributed, []mpc.ID{2, 3}},
		{"echo", ok, echo, mpc.Benign, nil},
		{"protocol", ok, message(3, func(h *session.Header) { h.Protocol = session.DKG }), mpc.Benign, nil},
		{"round", ok, message(3, func(h *session.Header) { h.Round = 2 }), mpc.Benign, nil},
		{"session", ok, message(3, func(h *session.Header) { h.Session[31]++ }), mpc.Benign, nil},
		{"epoch", ok, message(3, func(h *session.Header) { h.Epoch = 4 }), mpc.Benign, nil},
		{"recipient", ok, message(3, func(h *session.Header) { h.To = 2 }), mpc.Benign, nil},
		{"short beside an echo", short, echo, mpc.Benign, nil},
		{"another author beside an echo", forged, echo, mpc.Benign, nil},
		{"short beside an epoch", short, message(3, func(h *session.Header) { h.Epoch = 4 }), mpc.Benign, nil},
		{"another author of another session", message(3, func(h *session.Header) { h.Session[0]++ }), message(3, nil), mpc.Benign, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := open(map[mpc.ID][]byte{2: c.two, 3: c.three})
			if c.class == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			a := mpc.AsAbort(err)
			if a == nil || a.Class != c.class || !slices.Equal(a.Culprits, c.culprits) {
				t.Errorf("got %v, want %s of %v", err, c.class, c.culprits)
			}
		})
	}
	for name, m := range map[string]map[mpc.ID][]byte{
		"nothing":     nil,
		"one missing": {2: ok},
		"one more":    {2: ok, 3: message(3, nil), 4: message(4, nil)},
		"stranger":    {2: ok, 4: message(4, nil)},
	} {
		if a := mpc.AsAbort(open(m)); a == nil || a.Class != mpc.Benign {
			t.Errorf("%s: %v, want a benign abort", name, a)
		}
	}
}

// Every field of the context changes its hash.
func TestContextBindsEveryField(t *testing.T) {
	base := func() *session.Context {
		return &session.Context{
			Suite: mpc.DKLS23Secp256k1, Protocol: session.DKLS23, KeyID: []byte("key"), Epoch: 1, PublicKey: []byte("pk"), FeldmanHash: []byte("f"),
			RosterHash: [32]byte{1}, N: 3, T: 2, Set: []mpc.ID{1, 2}, Purpose: "sign",
		}
	}
	seen := map[[32]byte]string{base().Hash(): "the context itself"}
	for name, edit := range map[string]func(*session.Context){
		"suite":      func(c *session.Context) { c.Suite = mpc.FROSTSecp256k1 },
		"protocol":   func(c *session.Context) { c.Protocol = session.DKG },
		"key id":     func(c *session.Context) { c.KeyID = []byte("kez") },
		"epoch":      func(c *session.Context) { c.Epoch = 2 },
		"public key": func(c *session.Context) { c.PublicKey = []byte("pl") },
		"feldman":    func(c *session.Context) { c.FeldmanHash = []byte("g") },
		"borders":    func(c *session.Context) { c.PublicKey, c.FeldmanHash = []byte("pkf"), nil },
		"roster":     func(c *session.Context) { c.RosterHash[31] = 1 },
		"n":          func(c *session.Context) { c.N = 4 },
		"t":          func(c *session.Context) { c.T = 3 },
		"set":        func(c *session.Context) { c.Set = []mpc.ID{1, 3} },
		"longer set": func(c *session.Context) { c.Set = []mpc.ID{1, 2, 3} },
		"purpose":    func(c *session.Context) { c.Purpose = "presign" },
	} {
		c := base()
		edit(c)
		if other := seen[c.Hash()]; other != "" {
			t.Errorf("%s: hash is that of %s", name, other)
		}
		seen[c.Hash()] = name
	}
}

func TestSIDAndEchoBindEveryItem(t *testing.T) {
	ctx, attempt, job := [32]byte{1}, [16]byte{2}, []byte("job")
	nonces := [][32]byte{{3}, {4}}
	sid := session.SID(ctx, attempt, job, nonces)
	for i, other := range [][32]byte{
		session.SID([32]byte{9}, attempt, job, nonces),
		session.SID(ctx, [16]byte{9}, job, nonces),
		session.SID(ctx, attempt, nil, nonces),
		session.SID(ctx, attempt, job, [][32]byte{{3}, {5}}),
		session.SID(ctx, attempt, job, [][32]byte{{4}, {3}}),
		session.SID(ctx, attempt, job, nonces[:1]),
	} {
		if other == sid {
			t.Errorf("case %d: sid repeats", i)
		}
	}
	all := [][]byte{[]byte("ab"), []byte("c")}
	echo := session.Echo(sid, 1, all)
	for i, other := range [][32]byte{
		session.Echo([32]byte{}, 1, all),
		session.Echo(sid, 2, all),
		session.Echo(sid, 1, [][]byte{[]byte("a"), []byte("bc")}),
		session.Echo(sid, 1, [][]byte{[]byte("c"), []byte("ab")}),
		session.Echo(sid, 1, all[:1]),
		session.Echo(sid, 1, [][]byte{[]byte("ab"), []byte("d")}),
		session.Echo(sid, 1, [][]byte{[]byte("aa"), []byte("c")}),
	} {
		if other == echo {
			t.Errorf("case %d: echo repeats", i)
		}
	}
}

func TestRosterHash(t *testing.T) {
	ids := []mpc.ID{1, 2}
	h, err := session.RosterHash(ids, map[mpc.ID][]byte{1: {1}, 2: {2}})
	if err != nil {
		t.Fatal(err)
	}
	if swapped, err := session.RosterHash(ids, map[mpc.ID][]byte{1: {2}, 2: {1}}); err != nil || swapped == h {
		t.Error("keys swapped: the hash is the same")
	}
	if renamed, err := session.RosterHash([]mpc.ID{1, 3}, map[mpc.ID][]byte{1: {1}, 3: {2}}); err != nil || renamed == h {
		t.Error("a key under another id: the hash is the same")
	}
	for name, keys := range map[string]map[mpc.ID][]byte{
		"missing": {1: {1}}, "stranger": {1: {1}, 3: {2}}, "more": {1: {1}, 2: {2}, 3: {3}}, "empty": {1: {1}, 2: {}},
	} {
		if _, err := session.RosterHash(ids, keys); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(message(2, nil), message(3, nil))
	f.Add(message(2, nil)[:46], []byte{})
	f.Fuzz(func(t *testing.T, two, three []byte) {
		err := open(map[mpc.ID][]byte{2: two, 3: three})
		if err != nil && mpc.AsAbort(err) == nil {
			t.Error(fmt.Errorf("no abort: %w", err))
		}
		if err == nil && (!bytes.Equal(two[:79], message(2, nil)[:79]) || !bytes.Equal(three[:79], message(3, nil)[:79])) {
			t.Errorf("accepted:\n%x\n%x", two, three)
		}
	})
}
