package secp256k1

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"strconv"
	"strings"
	"testing"
)

// spellings returns the ways in which a print-out could show s.
func spellings(s *Scalar) []string {
	b := s.Bytes()
	out := []string{hex.EncodeToString(b[:]), strings.ToUpper(hex.EncodeToString(b[:])), new(big.Int).SetBytes(b[:]).String(), string(b[:])}
	for _, l := range s.n {
		out = append(out, strconv.FormatUint(l, 10), strconv.FormatUint(l, 16), strings.ToUpper(strconv.FormatUint(l, 16)),
			strconv.FormatUint(l, 2), strconv.FormatUint(l, 8), strconv.FormatUint(l, 36))
	}
	return out
}

// unprintable is what a struct embeds that keeps scalars in unexported fields:
// fmt doesn't ask the methods of those, only the ones of the struct.
type unprintable struct{}

func (unprintable) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

type hidden struct {
	unprintable
	v  Scalar
	p  *Scalar
	vs []Scalar
	ps []*Scalar
}

func TestScalarNeverPrints(t *testing.T) {
	s := NewScalar()
	if err := s.SetBytes(bytes.Repeat([]byte{0x5a, 0xc3, 0x17, 0x8e}, 8)); err != nil {
		t.Fatal(err)
	}
	type holder struct{ S Scalar }
	values := map[string]any{
		"value": *s, "pointer": s, "slice": []Scalar{*s}, "slice of pointers": []*Scalar{s}, "array": [1]Scalar{*s},
		"map value": map[string]Scalar{"k": *s}, "map key": map[Scalar]string{*s: "v"}, "map of pointers": map[string]*Scalar{"k": s},
		"field": holder{*s}, "pointer to field": &holder{*s}, "any": []any{*s, s},
		"unexported fields": hidden{v: *s, p: s, vs: []Scalar{*s}, ps: []*Scalar{s}}, "pointer to unexported fields": &hidden{v: *s, p: s},
	}
	var verbs []string
	for c := range 128 {
		// %p and %w of a value that is no pointer and no error: fmt reports a
		// wrong verb and prints the value without asking it. See doc.go.
		if c >= 'a' && c <= 'z' && c != 'p' && c != 'w' || c >= 'A' && c <= 'Z' {
			for _, flags := range []string{"", "+", "#", "0", " ", "-", "70.3"} {
				verbs = append(verbs, "%"+flags+string(rune(c)))
			}
		}
	}
	secrets := spellings(s)
	check := func(how, out string) {
		t.Helper()
		for _, secret := range secrets {
			if strings.Contains(out, secret) {
				t.Errorf("%s shows the scalar: %q", how, out)
				return
			}
		}
	}
	for name, v := range values {
		for _, verb := range verbs {
			check(name+" with "+verb, fmt.Sprintf(verb, v))
		}
		check(name+" with Print", fmt.Sprint(v))
		check(name+" with Println", fmt.Sprintln(v))
		check(name+" with Errorf", fmt.Errorf("x: %v", v).Error())
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "k", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "k", v)
		check(name+" with slog", log.String())
		if j, err := json.Marshal(v); err == nil {
			check(name+" with json", string(j))
		}
		var g bytes.Buffer
		if err := gob.NewEncoder(&g).Encode(v); err == nil {
			check(name+" with gob", g.String())
		}
	}
	for _, v := range []any{*s, s} {
		if j, err := json.Marshal(v); err == nil {
			t.Errorf("json of %T gives %s", v, j)
		}
		if err := gob.NewEncoder(new(bytes.Buffer)).Encode(v); err == nil {
			t.Errorf("gob of %T accepted", v)
		}
	}
	if b, err := s.MarshalText(); err == nil {
		t.Errorf("MarshalText gives %s", b)
	}
	if b, err := s.MarshalBinary(); err == nil {
		t.Errorf("MarshalBinary gives %x", b)
	}
	for _, out := range []string{s.String(), s.GoString(), fmt.Sprint(s), fmt.Sprintf("%#v", *s)} {
		if out != redacted {
			t.Errorf("printed as %q", out)
		}
	}
}

func TestPointPrintsNoCoordinates(t *testing.T) {
	p := NewPoint().ScalarBaseMult(NewScalar().SetUint64(7))
	for _, v := range []any{p, *p, []Point{*p}, map[string]*Point{"k": p}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			out := fmt.Sprintf(verb, v)
			for _, l := range p.v.z {
				if strings.Contains(out, strconv.FormatUint(l, 10)) || strings.Contains(out, strconv.FormatUint(l, 16)) {
					t.Errorf("%s of %T shows %s", verb, v, out)
				}
			}
		}
	}
	if p.String() != redactedPoint || p.GoString() != redactedPoint {
		t.Errorf("printed as %s, %s", p.String(), p.GoString())
	}
}
