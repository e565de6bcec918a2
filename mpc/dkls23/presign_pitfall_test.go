package dkls23_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// open tries to use a presignature for some request.
func open(c *cluster, p *dkls23.Presignature, edit func(*dkls23.OnlineConfig)) error {
	cfg := mpctest.OnlineConfig(c.keys[1], mpctest.IDs(2))
	if edit != nil {
		edit(&cfg)
	}
	_, err := dkls23.Open(p, cfg, mpctest.Now, mpctest.Reader("open"))
	return err
}

// A presignature serves once, whatever came of it; neither a copy of it nor its
// bytes bring it back.
func TestPitfall28_PresignatureServesOnce(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	for _, kind := range kinds {
		presigs := c.presignatures(t, "p28", ids, kind)
		copied := *presigs[1] // what a snapshot of the struct would be
		o := c.online(t, "p28", ids, presigs, nil)
		for name, p := range map[string]*dkls23.Presignature{"it": presigs[1], "its copy": &copied} {
			if err := open(c, p, nil); !errors.Is(err, dkls23.ErrUsed) || !p.Used() {
				t.Errorf("%v: %s opens again: %v", kind, name, err)
			}
		}
		if _, err := o.Run(); err != nil {
			t.Fatal(err)
		}
		// Answered: neither the same messages nor others get a second share.
		if s, err := o.Sessions[1].Round2(mpctest.Except(o.Echoes, 1)); err == nil {
			t.Errorf("%v: a second share %v", kind, s)
		}
		if _, err := o.Sessions[1].Round1(mpctest.Except(o.A, 1), mpctest.Inbound(o.Private, 1)); err == nil {
			t.Errorf("%v: A is heard twice", kind)
		}
		if _, _, err := o.Sessions[1].Round0(nil); err == nil {
			t.Errorf("%v: a second A", kind)
		}
		if !o.Sessions[1].Wiped() {
			t.Errorf("%v: secrets are left after the share", kind)
		}
		if err := open(c, presigs[1], nil); !errors.Is(err, dkls23.ErrUsed) {
			t.Errorf("%v: opens after it was answered: %v", kind, err)
		}
		// After an abort, and after an abandoned request.
		presigs = c.presignatures(t, "p28", ids, kind)
		o = c.online(t, "p28", ids, presigs, func(cfg *dkls23.OnlineConfig) { cfg.RequestHash[0] ^= byte(cfg.Key.ID) })
		if err := o.Round(0); err != nil {
			t.Fatal(err)
		}
		if err := o.Round(1); err == nil {
			t.Fatal("signers of different requests go on")
		}
		if err := open(c, presigs[1], nil); !errors.Is(err, dkls23.ErrUsed) || !o.Sessions[1].Wiped() {
			t.Errorf("%v: opens after an abort: %v", kind, err)
		}
		_, again := o.Sessions[1].Round2(nil)
		mpctest.WantAbort(t, again, mpc.Benign)
		// Destroyed.
		presigs = c.presignatures(t, "p28", ids, kind)
		presigs[1].Destroy()
		if err := open(c, presigs[1], nil); !errors.Is(err, dkls23.ErrUsed) {
			t.Errorf("%v: opens although it was destroyed: %v", kind, err)
		}
	}
}

func TestPitfall28_PresignatureHasNoBytes(t *testing.T) {
	c := shared(t, 3, 2)
	for _, kind := range kinds {
		p := c.presignatures(t, "p28 bytes", mpctest.IDs(2), kind)[1]
		for name, v := range map[string]any{"pointer": p, "value": *p} {
			if b, err := json.Marshal(v); err == nil {
				t.Errorf("%s in JSON: %s", name, b)
			}
			if err := gob.NewEncoder(new(bytes.Buffer)).Encode(v); err == nil {
				t.Errorf("%s: gob", name)
			}
			m := v.(interface {
				MarshalText() ([]byte, error)
				MarshalBinary() ([]byte, error)
			})
			_, err1 := m.MarshalText()
			_, err2 := m.MarshalBinary()
			if err1 == nil || err2 == nil {
				t.Errorf("%s has an encoding", name)
			}
			id := p.ID()
			want := fmt.Sprintf("dkls23.Presignature(%v %x of [1 2])", kind, id[:4])
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
				if out := fmt.Sprintf(verb, v); out != want {
					t.Errorf("%s shows %s", verb, out)
				}
			}
		}
	}
	if out := fmt.Sprint(dkls23.Presignature{}); out != "dkls23.Presignature(none)" {
		t.Errorf("no presignature shows %s", out)
	}
	if err := open(c, nil, nil); err == nil {
		t.Error("no presignature opens")
	}
	if err := open(c, &dkls23.Presignature{}, nil); err == nil {
		t.Error("an empty presignature opens")
	}
}

// It is bound to its key, epoch and signers and to its time. A refusal leaves it
// as it was.
func TestPitfall28_PresignatureIsBound(t *testing.T) {
	c, five := shared(t, 3, 2), newCluster(t, "p28 other key", 3, 2)
	presigs := c.presignatures(t, "p28 bound", mpctest.IDs(2), dkls23.Full)
	p := presigs[1]
	if p.KeyID() != c.keys[1].KeyID || p.Epoch() != 1 || !slices.Equal(p.Signers(), mpctest.IDs(2)) || p.Kind() != dkls23.Full ||
		!p.Expires().Equal(mpctest.Now.Add(time.Hour)) || p.ID() != presigs[2].ID() || p.Used() {
		t.Errorf("%v is not what was made", p)
	}
	for name, edit := range map[string]func(*dkls23.OnlineConfig){
		"another key":      func(cfg *dkls23.OnlineConfig) { cfg.Key = five.keys[1] },
		"another epoch":    func(cfg *dkls23.OnlineConfig) { cfg.Key = edited(t, c.keys[1], func(k *dkg.KeyShare) { k.Epoch++ }) },
		"another party":    func(cfg *dkls23.OnlineConfig) { cfg.Key = c.keys[2] },
		"another set":      func(cfg *dkls23.OnlineConfig) { cfg.Signers = []mpc.ID{1, 3} },
		"a larger set":     func(cfg *dkls23.OnlineConfig) { cfg.Signers = mpctest.IDs(3) },
		"no key":           func(cfg *dkls23.OnlineConfig) { cfg.Key = nil },
		"h = 0":            func(cfg *dkls23.OnlineConfig) { cfg.MessageHash = [32]byte{} },
		"h = q":            func(cfg *dkls23.OnlineConfig) { cfg.MessageHash = order },
		"too long a path":  func(cfg *dkls23.OnlineConfig) { cfg.Path = make([]byte, dkls23.MaxPath+1) },
		"a share not ours": func(cfg *dkls23.OnlineConfig) { cfg.Key, cfg.Signers = c.keys[3], []mpc.ID{1, 3} },
	} {
		if err := open(c, p, edit); err == nil || p.Used() {
			t.Errorf("%s: %v, used %t", name, err, p.Used())
		}
	}
	cfg := mpctest.OnlineConfig(c.keys[1], mpctest.IDs(2))
	for _, late := range []time.Duration{time.Hour, 2 * time.Hour} {
		if _, err := dkls23.Open(p, cfg, mpctest.Now.Add(late), mpctest.Reader("late")); !errors.Is(err, dkls23.ErrExpired) {
			t.Errorf("after %v: %v", late, err)
		}
	}
	if _, err := dkls23.Open(p, cfg, mpctest.Now, nil); err == nil {
		t.Error("opens without randomness")
	}
	if _, err := dkls23.Open(p, cfg, mpctest.Now.Add(time.Hour-time.Nanosecond), mpctest.Reader("in time")); err != nil {
		t.Errorf("in time: %v", err)
	}
}

// windows are all points that stand in b.
func windows(b []byte) []*secp256k1.Point {
	var out []*secp256k1.Point
	for i := 0; i+33 <= len(b); i++ {
		p := secp256k1.NewPoint()
		if (b[i] == 2 || b[i] == 3) && p.SetBytes(b[i:i+33]) == nil {
			out = append(out, p)
		}
	}
	return out
}

// Nothing that V1 sends offline tells R: neither the opening, nor Γ^u, from which
// the peer can compute it. The attack is shown to work on V2, which does send Γ^u.
func TestPitfall29_NothingOfROffline(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	const head = mpctest.OffBody + 4 + 33 + 33 + 32 + 4 // of the private R2, before the VOLE message
	// R₁ = χ⁻¹·(Γ^u + d^u·G), by signer 2.
	recovers := func(chi, d *secp256k1.Scalar, sent, r1 []byte) bool {
		inverse, dg := secp256k1.NewScalar().Invert(chi), secp256k1.NewPoint().ScalarBaseMult(d)
		for _, gamma := range windows(sent[:min(head, len(sent))]) {
			p := secp256k1.NewPoint().Add(gamma, dg)
			if b := p.ScalarMult(inverse, p).Bytes(); bytes.Equal(b[:], r1) {
				return true
			}
		}
		return false
	}
	v1 := c.presign(t, "p29", ids, dkls23.Delayed, 1, nil)
	if err := v1.Run(); err != nil {
		t.Fatal(err)
	}
	chi, d := v1.Presigs[2][0].CheckOf(1)
	chi, d = secp256k1.NewScalar().Set(chi), secp256k1.NewScalar().Set(d)
	o := c.online(t, "p29", ids, slotOf(v1, 0), nil)
	if err := o.Round(0); err != nil {
		t.Fatal(err)
	}
	a := o.A[1]
	r1, salt := a[mpctest.OffBody+32:mpctest.OffBody+65], a[mpctest.OffBody+65:mpctest.OffBody+97]
	gamma := o.Private[1][2][mpctest.OffBody:]
	for round := range 3 {
		for _, m := range [][]byte{v1.Broadcast[round][1], v1.Private[round][1][2]} {
			for name, secret := range map[string][]byte{"R": r1[1:], "the salt": salt, "gamma u": gamma[1:]} {
				if bytes.Contains(m, secret) {
					t.Errorf("round %d shows %s", round, name)
				}
			}
			if recovers(chi, d, m, r1) {
				t.Errorf("round %d: R can be computed", round)
			}
		}
	}
	if !recovers(chi, d, o.Private[1][2], r1) {
		t.Error("the attack does not recover R from Γ^u: it proves nothing")
	}
	v2 := c.presign(t, "p29", ids, dkls23.Full, 1, nil)
	for r := range 3 {
		if err := v2.Round(r); err != nil {
			t.Fatal(err)
		}
	}
	s := v2.Presign[2]
	if err := s.FinishVOLE(mpctest.Except(v2.Broadcast[2], 2), mpctest.Inbound(v2.Private[2], 2)); err != nil {
		t.Fatal(err)
	}
	r1 = v2.Broadcast[2][1][mpctest.OffEchoBody+4 : mpctest.OffEchoBody+4+33]
	if !recovers(s.Chi(1, 0), s.DU(1, 0), v2.Private[2][1][2], r1) {
		t.Error("the attack does not recover R from the messages of V2: it proves nothing")
	}
}

// The attack of eprint 2021/1330 on presignatures with additive derivation: who
// knows R chooses h = h* + r(ε* − ε), and the signature of h under ε is one of h*
// under ε*. It works on what a raw presignature would sign; through Open it does
// not.
func TestPitfall30_RawPresignatureWithDerivation(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	presigs := c.presignatures(t, "p30", ids, dkls23.Full)
	_, _, _, total := presigs[1].Raw()
	x := total.XBytes()
	r := secp256k1.NewScalar().SetReduced(&x)
	evil, evilTweak := [32]byte{0xee, 1}, mpctest.Scalar("p30 tweak")
	h := secp256k1.NewScalar().SetReduced(&evil)
	chosen := h.MulAdd(r, evilTweak, h).Bytes()

	// Raw: w = h·φ + r·v, u.
	w, u := secp256k1.NewScalar(), secp256k1.NewScalar()
	for _, id := range ids {
		ui, vi, phi, _ := presigs[id].Raw()
		w.MulAdd(r, vi, w)
		w.MulAdd(h, phi, w)
		u.Add(u, ui)
	}
	sig, err := dkls23.Assemble(total, w, u)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, c, nil, chosen, sig)
	verify(t, c, evilTweak, evil, sig) // the forgery

	o := c.online(t, "p30", ids, presigs, func(cfg *dkls23.OnlineConfig) { cfg.MessageHash = chosen })
	if sig, err = o.Run(); err != nil {
		t.Fatal(err)
	}
	verify(t, c, nil, chosen, sig)
	child := secp256k1.NewPoint().Add(group.Secp256k1Point(c.keys[1].PublicKey), secp256k1.NewPoint().ScalarBaseMult(evilTweak))
	if ecdsa.Verify(child.Bytes(), evil, sig) == nil {
		t.Error("the signature of a chosen message is one of another message under another key")
	}
	if sig.R == r.Bytes() {
		t.Error("R was not moved")
	}
}

// δ depends on everything that it is to depend on, and R′ = R + δG is what the
// signature has. One presignature is used many times here, as only a test can.
func TestPitfall30_DeltaDependsOnEverything(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	presigs := c.presignatures(t, "p30 delta", ids, dkls23.Full)
	label := fmt.Sprintf("p30 delta #%d", runs.Add(1))
	seen := make(map[[33]byte]string)
	for name, v := range map[string]struct {
		edit  func(*dkls23.OnlineConfig)
		label [2]string
	}{
		"nothing":          {nil, [2]string{}},
		"request":          {func(cfg *dkls23.OnlineConfig) { cfg.RequestHash[31] ^= 1 }, [2]string{}},
		"message":          {func(cfg *dkls23.OnlineConfig) { cfg.MessageHash[31] ^= 1 }, [2]string{}},
		"tweak":            {func(cfg *dkls23.OnlineConfig) { cfg.Tweak = one }, [2]string{}},
		"path":             {func(cfg *dkls23.OnlineConfig) { cfg.Path = []byte{1} }, [2]string{}},
		"nonce of 1":       {nil, [2]string{"x", ""}},
		"nonce of 2":       {nil, [2]string{"", "x"}},
		"nonces exchanged": {nil, [2]string{"swap", "swap"}},
	} {
		clones := map[mpc.ID]*dkls23.Presignature{1: presigs[1].Clone(), 2: presigs[2].Clone()}
		sessions := make(map[mpc.ID]*dkls23.Online)
		for i, id := range ids {
			cfg := mpctest.OnlineConfig(c.keys[id], ids)
			if v.edit != nil {
				v.edit(&cfg)
			}
			source := id
			if v.label[i] == "swap" {
				source = 3 - id
			}
			s, err := dkls23.Open(clones[id], cfg, mpctest.Now, mpctest.Reader("%s/%s/%d", label, strings.Trim(v.label[i], "swap"), source))
			if err != nil {
				t.Fatal(err)
			}
			sessions[id] = s
		}
		o := &mpctest.Online{Signers: ids, Sessions: sessions}
		for r := range 3 {
			if err := o.Round(r); err != nil {
				t.Fatal(err)
			}
		}
		if sessions[1].R() != sessions[2].R() {
			t.Errorf("%s: the signers hold different R", name)
		}
		if other, ok := seen[sessions[1].R()]; ok {
			t.Errorf("another %s: R is that of another %s", name, other)
		}
		seen[sessions[1].R()] = name
	}
	_, _, _, total := presigs[1].Raw()
	if _, ok := seen[total.Bytes()]; ok {
		t.Error("a signature has the R of its presignature")
	}
}

// Open and Pool.Add are the only ways in for a presignature, and its methods show
// nothing secret: there is no way to sign without δ.
func TestPitfall30_NoOtherWayIn(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no source here", err)
	}
	var takes []string
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			for _, p := range f.Type.Params.List {
				ast.Inspect(p.Type, func(n ast.Node) bool {
					if id, ok := n.(*ast.Ident); ok && (id.Name == "Presignature" || id.Name == "material") {
						takes = append(takes, f.Name.Name)
					}
					return true
				})
			}
		}
	}
	slices.Sort(takes)
	if !slices.Equal(takes, []string{"Add", "Open"}) {
		t.Errorf("presignatures go into %v, want Add and Open only", takes)
	}
	typ := reflect.TypeFor[*dkls23.Presignature]()
	known := []string{"CheckOf", "Clone", "Raw", // of the tests
		"Destroy", "Epoch", "Expires", "Format", "GobEncode", "ID", "KeyID", "Kind", "MarshalBinary", "MarshalJSON", "MarshalText", "Signers", "Used"}
	for i := range typ.NumMethod() {
		if name := typ.Method(i).Name; !slices.Contains(known, name) {
			t.Errorf("method %s of a presignature: does it show something secret?", name)
		}
	}
}
