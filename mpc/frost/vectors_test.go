package frost

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// vectorFile is the format of RFC 9591's published vectors, and of those that
// the Zcash Foundation made in it for the Taproot suite.
type vectorFile struct {
	Config struct {
		Max   json.RawMessage `json:"MAX_PARTICIPANTS"`
		Num   json.RawMessage `json:"NUM_PARTICIPANTS"`
		Min   json.RawMessage `json:"MIN_PARTICIPANTS"`
		Name  string          `json:"name"`
		Group string          `json:"group"`
		Hash  string          `json:"hash"`
	} `json:"config"`
	Inputs struct {
		Participants  []mpc.ID    `json:"participant_list"`
		Secret        vectorHex   `json:"group_secret_key"`
		PublicKey     *vectorHex  `json:"group_public_key"`
		VerifyingKey  *vectorHex  `json:"verifying_key_key"`
		VerifyingKey2 *vectorHex  `json:"verifying_key"`
		Message       vectorHex   `json:"message"`
		Coefficients  []vectorHex `json:"share_polynomial_coefficients"`
		Shares        []struct {
			ID    mpc.ID    `json:"identifier"`
			Share vectorHex `json:"participant_share"`
		} `json:"participant_shares"`
	} `json:"inputs"`
	RoundOne struct {
		Outputs []struct {
			ID                mpc.ID    `json:"identifier"`
			HidingRandomness  vectorHex `json:"hiding_nonce_randomness"`
			BindingRandomness vectorHex `json:"binding_nonce_randomness"`
			Hiding            vectorHex `json:"hiding_nonce"`
			Binding           vectorHex `json:"binding_nonce"`
			HidingCommitment  vectorHex `json:"hiding_nonce_commitment"`
			BindingCommitment vectorHex `json:"binding_nonce_commitment"`
			FactorInput       vectorHex `json:"binding_factor_input"`
			Factor            vectorHex `json:"binding_factor"`
		} `json:"outputs"`
	} `json:"round_one_outputs"`
	RoundTwo struct {
		Outputs []struct {
			ID    mpc.ID    `json:"identifier"`
			Share vectorHex `json:"sig_share"`
		} `json:"outputs"`
	} `json:"round_two_outputs"`
	Final struct {
		Signature vectorHex `json:"sig"`
	} `json:"final_output"`
}

type vectorHex []byte

func (h *vectorHex) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// suite is what the configuration names. The files of the two secp256k1 suites
// name the same one: a Taproot signature has no prefix byte, or the file's name
// says what it is of and the prefix is that of an even y.
func (f *vectorFile) suite(name string) (*suite, error) {
	taproot := slices.ContainsFunc(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return r == '-' || r == '.' || r == '_'
	}), func(s string) bool { return s == "tr" || s == "taproot" })
	c, size := f.Config, len(f.Final.Signature)
	secp := strings.HasPrefix(c.Name, "FROST(secp256k1, SHA-256") && c.Group == "secp256k1" && c.Hash == "SHA-256"
	switch {
	case c.Name == "FROST(Ed25519, SHA-512)" && c.Group == "ed25519" && c.Hash == "SHA-512" && size == 64 && !taproot:
		return suiteOf(mpc.FROSTEd25519)
	case secp && size == 65 && !taproot:
		return suiteOf(mpc.FROSTSecp256k1)
	case secp && size == 64:
		return suiteOf(mpc.FROSTSecp256k1TR)
	case secp && size == 65 && f.Final.Signature[0] == 2:
		f.Final.Signature = f.Final.Signature[1:]
		return suiteOf(mpc.FROSTSecp256k1TR)
	}
	return nil, fmt.Errorf("suite %s with a signature of %d bytes is unknown", c.Name, size)
}

func number(b json.RawMessage) (n int, err error) {
	err = json.Unmarshal(bytes.Trim(b, `"`), &n)
	return n, err
}

// check recomputes everything that the file states.
func (f *vectorFile) check(name string) error {
	s, err := f.suite(name)
	if err != nil {
		return err
	}
	maxSigners, err1 := number(f.Config.Max)
	num, err2 := number(f.Config.Num)
	minSigners, err3 := number(f.Config.Min)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	in := &f.Inputs
	if len(in.Participants) != num || len(in.Shares) != maxSigners || len(in.Coefficients) != minSigners-1 || num < minSigners ||
		len(f.RoundOne.Outputs) != num || len(f.RoundTwo.Outputs) != num {
		return errors.New("the lists are not as long as the configuration says")
	}
	key, shares, err := f.key(s, minSigners)
	if err != nil {
		return err
	}
	nonces := make(map[mpc.ID]*noncePair)
	var list []*Commitment
	for i := range f.RoundOne.Outputs {
		o := &f.RoundOne.Outputs[i]
		if o.ID != in.Participants[i] || shares[o.ID] == nil {
			return fmt.Errorf("round one: participant %d, want %d, with a share", o.ID, in.Participants[i])
		}
		n := &noncePair{}
		if n.d, err = s.nonce(shares[o.ID], bytes.NewReader(o.HidingRandomness)); err != nil {
			return err
		}
		if n.e, err = s.nonce(shares[o.ID], bytes.NewReader(o.BindingRandomness)); err != nil {
			return err
		}
		d, e := s.curve.NewPoint().ScalarBaseMult(n.d).Encode(), s.curve.NewPoint().ScalarBaseMult(n.e).Encode()
		if err := errors.Join(
			same("hiding nonce", n.d.Encode(), o.Hiding), same("binding nonce", n.e.Encode(), o.Binding),
			same("hiding nonce commitment", d, o.HidingCommitment), same("binding nonce commitment", e, o.BindingCommitment),
		); err != nil {
			return fmt.Errorf("participant %d: %w", o.ID, err)
		}
		c, err := DecodeCommitment(s.name, o.ID, append(d, e...))
		if err != nil {
			return err
		}
		nonces[o.ID], list = n, append(list, c)
	}
	x, err := NewPackage(key, Job{Message: in.Message}, list)
	if err != nil {
		return err
	}
	inputs := s.bindingInputs(x.child.qb, x.msg, list)
	zs := make(map[mpc.ID]group.Scalar)
	for i := range f.RoundOne.Outputs {
		o, o2 := &f.RoundOne.Outputs[i], &f.RoundTwo.Outputs[i]
		if o2.ID != o.ID {
			return fmt.Errorf("round two: participant %d, want %d", o2.ID, o.ID)
		}
		z, err := x.sign(o.ID, shares[o.ID], list[i].enc, nonces[o.ID])
		if err != nil {
			return err
		}
		zs[o.ID] = z
		if err := errors.Join(
			same("binding factor input", inputs[i], o.FactorInput), same("binding factor", x.rho[i].Encode(), o.Factor),
			same("signature share", z.Encode(), o2.Share), x.VerifyShare(o.ID, z),
		); err != nil {
			return fmt.Errorf("participant %d: %w", o.ID, err)
		}
	}
	sig, err := x.Aggregate(zs)
	if err != nil {
		return err
	}
	return same("signature", sig, f.Final.Signature)
}

// key checks the shares against the polynomial and the key against the secret.
func (f *vectorFile) key(s *suite, t int) (*Public, map[mpc.ID]group.Scalar, error) {
	in := &f.Inputs
	coefficients := []group.Scalar{s.curve.NewScalar()}
	if err := coefficients[0].Decode(in.Secret); err != nil {
		return nil, nil, fmt.Errorf("group secret key: %w", err)
	}
	for _, b := range in.Coefficients {
		k := s.curve.NewScalar()
		if err := k.Decode(b); err != nil {
			return nil, nil, fmt.Errorf("coefficient: %w", err)
		}
		coefficients = append(coefficients, k)
	}
	var stated []byte
	for _, k := range []*vectorHex{in.PublicKey, in.VerifyingKey, in.VerifyingKey2} {
		if k != nil {
			stated = *k
		}
	}
	key := &Public{
		Suite: s.name, Threshold: t, Purpose: "vectors", PublicShares: make(map[mpc.ID]group.Point),
		PublicKey: s.curve.NewPoint().ScalarBaseMult(coefficients[0]),
	}
	if got := key.PublicKey.Encode(); !bytes.Equal(got, stated) {
		return nil, nil, fmt.Errorf("group public key is %x, want %x", got, stated)
	}
	shares := make(map[mpc.ID]group.Scalar)
	for _, p := range in.Shares {
		x := s.curve.NewScalar()
		if err := x.Decode(p.Share); err != nil {
			return nil, nil, fmt.Errorf("share of %d: %w", p.ID, err)
		}
		y, at := s.curve.NewScalar(), sharing.Scalar(s.curve, p.ID)
		for k := len(coefficients) - 1; k >= 0; k-- {
			y.Mul(y, at)
			y.Add(y, coefficients[k])
		}
		if x.Equal(y) != 1 {
			return nil, nil, fmt.Errorf("share of %d is not on the polynomial", p.ID)
		}
		shares[p.ID] = x
	}
	// Files name more parties than a key of Coffer has (mpc.MaxParties); those that
	// sign are all that the computations know.
	for _, id := range in.Participants {
		if shares[id] == nil {
			return nil, nil, fmt.Errorf("participant %d has no share", id)
		}
		key.PublicShares[id] = s.curve.NewPoint().ScalarBaseMult(shares[id])
	}
	key.Parties = slices.Clone(in.Participants)
	return key, shares, nil
}

func same(what string, got, want []byte) error {
	if len(want) == 0 || !bytes.Equal(got, want) {
		return fmt.Errorf("%s is %x, want %x", what, got, want)
	}
	return nil
}

// checkVectors is strict: a field that it does not know would go unchecked.
func checkVectors(name string, b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	f := new(vectorFile)
	if err := d.Decode(f); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one JSON value")
	}
	return f.check(name)
}

// Every file with frost in its name, in the folder of the vectors and in our
// testdata. One in another format, or of another suite, fails.
func TestVectors(t *testing.T) {
	dir := os.Getenv("COFFER_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	files, err := frostFiles(dir)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") != "true" {
		t.Logf("only our own copies: set COFFER_VECTORS to the folder that has more: %v", err)
	} else if err != nil || len(files) == 0 {
		t.Fatalf("%d vector files in %s: %v", len(files), dir, err)
	}
	own, err := frostFiles("testdata")
	if err != nil || len(own) < 3 {
		t.Fatalf("%d vector files in testdata: %v", len(own), err)
	}
	for _, name := range append(files, own...) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkVectors(filepath.Base(name), b); err != nil {
				t.Error(err)
			}
		})
	}
}

func frostFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		if !e.IsDir() && strings.Contains(strings.ToLower(e.Name()), "frost") {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, err
}

// What the test would do with a file that is wrong, incomplete or of something
// else.
func TestVectorFilesAreJudged(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "rfc9591-frost-ed25519-sha512.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkVectors("x", raw); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"FROST(Ed25519, SHA-512)", "FROST(ristretto255, SHA-512)"},
		{"\"ed25519\"", "\"ed448\""},
		{"\"NUM_PARTICIPANTS\": \"2\"", "\"NUM_PARTICIPANTS\": \"3\""},
		{"\"config\"", "\"extra\": 1, \"config\""},
		{"round_two_outputs", "round_three_outputs"},
		{"\"sig_share\": \"001719", "\"sig_share\": \"011719"},
		{"\"sig\": \"36", "\"sig\": \"37"},
		{"\"binding_factor\": \"f2", "\"binding_factor\": \"f3"},
		{"\"binding_factor_input\": \"15", "\"binding_factor_input\": \"16"},
		{"\"hiding_nonce\": \"81", "\"hiding_nonce\": \"82"},
		{"\"binding_nonce\": \"b1", "\"binding_nonce\": \"b2"},
		{"\"hiding_nonce_commitment\": \"b5", "\"hiding_nonce_commitment\": \"b6"},
		{"\"group_public_key\": \"15", "\"group_public_key\": \"16"},
		{"\"group_secret_key\": \"7b", "\"group_secret_key\": \"7c"},
		{"\"participant_share\": \"92", "\"participant_share\": \"93"},
		{"\"participant_share\": \"a9", "\"participant_share\": \"aa"},
	} {
		changed := bytes.Replace(raw, []byte(c[0]), []byte(c[1]), 1)
		if bytes.Equal(changed, raw) || checkVectors("x", changed) == nil {
			t.Errorf("%s for %s: not found out", c[1], c[0])
		}
	}
	for _, b := range []string{"", "{}", "[]", string(raw) + "{}"} {
		if checkVectors("x", []byte(b)) == nil {
			t.Errorf("%.20q: accepted", b)
		}
	}
}
