package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/signature"
)

// golden is evidence of swtpm, written by hsm/tpm's TestAttest -update.
func golden(t testing.TB, name string) ([]byte, Want) {
	t.Helper()
	text, err := os.ReadFile("testdata/swtpm-" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	var f [][]byte
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		b, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		f = append(f, b)
	}
	w := Want{Nonce: [32]byte(f[1]), Bind: [32]byte(f[2])}
	if w.Identity, err = signature.DecodePublicKey(f[3]); err != nil {
		t.Fatal(err)
	}
	if w.Decision, err = signature.DecodePublicKey(f[4]); err != nil {
		t.Fatal(err)
	}
	if len(f[5]) > 0 {
		w.Approval = f[5]
	}
	return f[0], w
}

func TestVerifyGolden(t *testing.T) {
	for _, name := range []string{"plain", "approval"} {
		b, w := golden(t, name)
		r, err := Verify(KindTPM, b, w)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Manufacturer != "IBM" || r.Model != "SW TPM" || !r.Emulator || r.Mask != 0xff || r.Firmware == 0 || r.Counter == 0 {
			t.Errorf("%s: %+v", name, r)
		}
		if (r.Generation != 0) != (name == "approval") {
			t.Errorf("%s: generation %d", name, r.Generation)
		}
	}
}

// TestVerifyEveryByte: no byte of evidence may be another.
func TestVerifyEveryByte(t *testing.T) {
	for _, name := range []string{"plain", "approval"} {
		b, w := golden(t, name)
		for i := range b {
			d := bytes.Clone(b)
			d[i] ^= 1 << (i % 8)
			if _, err := Verify(KindTPM, d, w); err == nil {
				t.Errorf("%s: passes with byte %d flipped", name, i)
			}
			if _, err := Verify(KindTPM, b[:i], w); !errors.Is(err, ErrTampered) {
				t.Errorf("%s: cut to %d bytes: %v, want ErrTampered", name, i, err)
			}
		}
		if _, err := Verify(KindTPM, append(bytes.Clone(b), 0), w); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: byte appended: %v", name, err)
		}
	}
}

func TestVerifyWant(t *testing.T) {
	b, w := golden(t, "approval")
	plain, plainWant := golden(t, "plain")
	for _, tc := range []struct {
		name string
		b    []byte
		w    func(w *Want)
		is   error
	}{
		{"another nonce", b, func(w *Want) { w.Nonce[31] ^= 1 }, ErrStale},
		{"another channel", b, func(w *Want) { w.Bind[0] ^= 1 }, ErrStale},
		{"another identity", b, func(w *Want) { w.Identity = plainWant.Identity }, ErrForeign},
		{"another decision key", b, func(w *Want) { w.Decision = plainWant.Decision }, ErrForeign},
		{"keys exchanged", b, func(w *Want) { w.Identity, w.Decision = w.Decision, w.Identity }, ErrForeign},
		{"another vault's evidence", plain, func(*Want) {}, ErrForeign},
		{"another approval key", b, func(w *Want) { w.Approval = append(bytes.Clone(w.Approval), 0) }, ErrForeign},
	} {
		w := w
		tc.w(&w)
		if tc.b[0] == plain[0] && bytes.Equal(tc.b, plain) {
			w.Nonce, w.Bind = plainWant.Nonce, plainWant.Bind
		}
		if _, err := Verify(KindTPM, tc.b, w); !errors.Is(err, tc.is) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.is)
		}
	}
	plainWant.Approval = w.Approval
	if _, err := Verify(KindTPM, plain, plainWant); !errors.Is(err, ErrForeign) {
		t.Errorf("no approval key where the card has one: %v, want ErrForeign", err)
	}
	if _, err := Verify(2, b, w); !errors.Is(err, ErrTampered) {
		t.Errorf("unknown kind: %v", err)
	}
}

// fake plays a TPM: it holds an attestation key and signs whatever a test wants, as a
// broken or hostile TPM would.
type fake struct {
	t        testing.TB
	ak       *ecdsa.PrivateKey
	area     Area
	evidence TPM
	want     Want
	signer   Name
}

func p256(t testing.TB) (*ecdsa.PrivateKey, signature.PublicKey) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return k, signature.PublicKey{Algorithm: signature.P256, Key: string(raw)}
}

func sign(t testing.TB, k *ecdsa.PrivateKey, digest [32]byte) signature.Signature {
	t.Helper()
	r, s, err := ecdsa.Sign(rand.Reader, k, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	sig, err := signature.NormalizeP256(raw)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// statement is a TPMS_ATTEST.
type statement struct {
	magic    uint32
	kind     uint16
	signer   Name
	extra    []byte
	resets   uint32
	restarts uint32
	safe     uint8
	firmware uint64
	body     []byte
}

func (s statement) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, s.magic)
	b = binary.BigEndian.AppendUint16(b, s.kind)
	b = appendSized(b, s.signer[:])
	b = appendSized(b, s.extra)
	b = binary.BigEndian.AppendUint64(b, 12345)
	b = binary.BigEndian.AppendUint32(b, s.resets)
	b = binary.BigEndian.AppendUint32(b, s.restarts)
	b = append(b, s.safe)
	b = binary.BigEndian.AppendUint64(b, s.firmware)
	return append(b, s.body...)
}

func (f *fake) certify(kind uint16, body []byte, change ...func(*statement)) Signed {
	q := Qualify(f.want.Nonce, f.want.Bind, f.evidence.Manufacturer, f.evidence.Model)
	s := statement{magic: magic, kind: kind, signer: f.signer, extra: q[:], resets: 3, restarts: 1, safe: 1, firmware: 0x700, body: body}
	for _, c := range change {
		c(&s)
	}
	b := s.encode()
	return Signed{b, sign(f.t, f.ak, sha256.Sum256(b))}
}

func creationBody(n Name) []byte {
	return appendSized(appendSized(nil, n[:]), make([]byte, 32))
}

func counterBody(index uint32, v uint64) []byte {
	n := NameOf(CounterArea(index))
	b := binary.BigEndian.AppendUint16(appendSized(nil, n[:]), 0)
	return appendSized(b, binary.BigEndian.AppendUint64(nil, v))
}

func quoteBody(mask uint32, digest []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 1)
	b = binary.BigEndian.AppendUint16(b, algSHA256)
	b = append(b, 3, byte(mask), byte(mask>>8), byte(mask>>16))
	return appendSized(b, digest)
}

func pcrDigest(pcrs [][32]byte) []byte {
	h := sha256.New()
	for _, p := range pcrs {
		h.Write(p[:])
	}
	return h.Sum(nil)
}

func (f *fake) setAK(attributes uint32, hierarchy uint32) {
	f.area.Attributes = attributes
	f.evidence.AK = f.area.Encode()
	n := NameOf(f.evidence.AK)
	f.signer = NameOf(append(binary.BigEndian.AppendUint32(nil, hierarchy), n[:]...))
}

func (f *fake) key(attributes uint32, policy []byte) (Key, signature.PublicKey) {
	_, public := p256(f.t)
	area := Area{attributes, policy, public}.Encode()
	return Key{area, f.certify(attestCreation, creationBody(NameOf(area)))}, public
}

// all has the fake state everything anew.
func (f *fake) all() {
	f.evidence.Identity, f.want.Identity = f.key(signAttributes, nil)
	f.evidence.Decision, f.want.Decision = f.key(signAttributes, nil)
	f.evidence.Quote = f.certify(attestQuote, quoteBody(0xff, pcrDigest(f.evidence.PCRs)))
	f.evidence.Counter = Count{7, f.certify(attestNV, counterBody(7, 42))}
	k, _ := f.key(approvalAttributes, bytes.Repeat([]byte{9}, 32))
	f.want.Approval = k.Area
	f.evidence.Approval = &Approval{k, Count{8, f.certify(attestNV, counterBody(8, 5))}}
}

// newFake plays a chip whose machine measured its boot.
func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{t: t, want: Want{Nonce: [32]byte{1}, Bind: [32]byte{2}}}
	f.ak, f.area.Key = p256(t)
	f.evidence.Manufacturer, f.evidence.Model = "IFX", "SLB 9670"
	for i := range 8 {
		f.evidence.PCRs = append(f.evidence.PCRs, [32]byte{byte(i + 1)})
	}
	f.setAK(akAttributes, handleEndorsement)
	f.all()
	return f
}

func (f *fake) verify() (Result, error) { return Verify(KindTPM, f.evidence.Encode(), f.want) }

func TestVerifyFake(t *testing.T) {
	r, err := newFake(t).verify()
	if err != nil {
		t.Fatal(err)
	}
	if r.Emulator || !r.Measured() || r.Counter != 42 || r.Generation != 5 || r.Firmware != 0x700 || r.Resets != 3 || r.Clock != 12345 {
		t.Errorf("%+v", r)
	}
}

// TestVerifyRefuses: everything that a signed statement could say wrongly, signed.
func TestVerifyRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(f *fake)
		is    error
		say   string
	}{
		{"attestation key that signs anything", func(f *fake) { f.setAK(signAttributes, handleEndorsement); f.all() }, ErrTampered, "isn't restricted"},
		{"attestation key that can be duplicated", func(f *fake) { f.setAK(akAttributes&^attrFixedTPM, handleEndorsement); f.all() }, ErrTampered, "attributes"},
		{"attestation key with a policy", func(f *fake) { f.area.Policy = make([]byte, 32); f.setAK(akAttributes, handleEndorsement); f.all() }, ErrTampered, "attributes"},
		{"attestation key of the owner hierarchy", func(f *fake) { f.setAK(akAttributes, 0x40000001); f.all() }, ErrTampered, "endorsement hierarchy"},
		{"no TPM's magic", func(f *fake) {
			f.evidence.Quote = f.certify(attestQuote, quoteBody(0xff, pcrDigest(f.evidence.PCRs)), func(s *statement) { s.magic++ })
		}, ErrTampered, "magic"},
		{"another key's signature", func(f *fake) {
			f.ak, _ = p256(f.t)
			f.evidence.Counter = Count{7, f.certify(attestNV, counterBody(7, 99))}
		}, ErrTampered, "does not verify"},
		{"a statement of another connection", func(f *fake) {
			f.evidence.Counter = Count{7, f.certify(attestNV, counterBody(7, 99), func(s *statement) { s.extra = make([]byte, 32) })}
		}, ErrStale, "counter"},
		{"declared as another TPM", func(f *fake) { f.evidence.Model = "SLB 9672" }, ErrStale, "quote"},
		{"a statement of another boot", func(f *fake) {
			f.evidence.Counter = Count{7, f.certify(attestNV, counterBody(7, 99), func(s *statement) { s.resets++ })}
		}, ErrTampered, "reset"},
		{"a statement after a resume", func(f *fake) {
			f.evidence.Counter = Count{7, f.certify(attestNV, counterBody(7, 99), func(s *statement) { s.restarts++ })}
		}, ErrTampered, "reset"},
		{"a statement of another firmware", func(f *fake) {
			f.evidence.Counter = Count{7, f.certify(attestNV, counterBody(7, 99), func(s *statement) { s.firmware++ })}
		}, ErrTampered, "firmware"},
		{"clock neither safe nor not", func(f *fake) {
			f.evidence.Counter = Count{7, f.certify(attestNV, counterBody(7, 99), func(s *statement) { s.safe = 2 })}
		}, ErrTampered, "safe"},
		{"a quote for a creation", func(f *fake) { f.evidence.Identity.Created = f.evidence.Quote }, ErrTampered, "kind"},
		{"a creation for a quote", func(f *fake) { f.evidence.Quote = f.evidence.Identity.Created }, ErrTampered, "kind"},
		{"other PCRs", func(f *fake) { f.evidence.PCRs[3][0] ^= 1 }, ErrTampered, "not those of the quote"},
		{"a PCR too few", func(f *fake) { f.evidence.PCRs = f.evidence.PCRs[:7] }, ErrTampered, "7 PCRs"},
		{"no PCR", func(f *fake) {
			f.evidence.PCRs = nil
			f.evidence.Quote = f.certify(attestQuote, quoteBody(0, pcrDigest(nil)))
		}, ErrTampered, "0 PCRs"},
		{"two PCR banks", func(f *fake) {
			b := quoteBody(0xff, pcrDigest(f.evidence.PCRs))
			b[3] = 2
			f.evidence.Quote = f.certify(attestQuote, b)
		}, ErrTampered, "PCR banks"},
		{"the SHA-1 bank", func(f *fake) {
			b := quoteBody(0xff, pcrDigest(f.evidence.PCRs))
			b[5] = 4
			f.evidence.Quote = f.certify(attestQuote, b)
		}, ErrTampered, "PCR bank"},
		{"a long PCR selection", func(f *fake) {
			b := quoteBody(0xff, pcrDigest(f.evidence.PCRs))
			b[6] = 4
			f.evidence.Quote = f.certify(attestQuote, slices.Insert(b, 10, 0))
		}, ErrTampered, "PCR selection"},
		{"a key that could be imported", func(f *fake) { f.evidence.Identity, f.want.Identity = f.key(signAttributes&^attrDataOrigin, nil) }, ErrTampered, "identity key has attributes"},
		{"a key that can be duplicated", func(f *fake) { f.evidence.Decision, f.want.Decision = f.key(signAttributes&^attrFixedTPM, nil) }, ErrTampered, "decision key has attributes"},
		{"a key that can move", func(f *fake) {
			f.evidence.Decision, f.want.Decision = f.key(signAttributes&^attrFixedParent, nil)
		}, ErrTampered, "decision key has attributes"},
		{"a key that does Diffie-Hellman", func(f *fake) { f.evidence.Decision, f.want.Decision = f.key(signAttributes|attrDecrypt, nil) }, ErrTampered, "decision key has attributes"},
		{"a key with a policy", func(f *fake) { f.evidence.Identity, f.want.Identity = f.key(signAttributes, make([]byte, 32)) }, ErrTampered, "identity key has attributes"},
		{"a key that the TPM didn't make", func(f *fake) {
			_, f.want.Identity = p256(f.t)
			f.evidence.Identity.Area = Area{signAttributes, nil, f.want.Identity}.Encode()
		}, ErrTampered, "the TPM made key"},
		{"an approval key that the TPM didn't make", func(f *fake) {
			_, k := p256(f.t)
			f.want.Approval = Area{approvalAttributes, make([]byte, 32), k}.Encode()
			f.evidence.Approval.Key.Area = f.want.Approval
		}, ErrTampered, "the TPM made key"},
		{"an approval key that a password opens", func(f *fake) {
			f.evidence.Approval.Key, _ = f.key(approvalAttributes|attrUserWithAuth, make([]byte, 32))
			f.want.Approval = f.evidence.Approval.Key.Area
		}, ErrTampered, "approval key has attributes"},
		{"an approval key without a policy", func(f *fake) {
			f.evidence.Approval.Key, _ = f.key(approvalAttributes, nil)
			f.want.Approval = f.evidence.Approval.Key.Area
		}, ErrTampered, "no policy"},
		{"another approval key", func(f *fake) { f.evidence.Approval.Key, _ = f.key(approvalAttributes, make([]byte, 32)) }, ErrForeign, "approval key"},
		{"no approval key", func(f *fake) { f.evidence.Approval = nil }, ErrForeign, "no approval key"},
		{"another index", func(f *fake) { f.evidence.Counter.Index++ }, ErrTampered, "not a counter"},
		{"another index of the generation", func(f *fake) { f.evidence.Approval.Generation.Index++ }, ErrTampered, "not a counter"},
		{"part of a counter", func(f *fake) {
			b := counterBody(7, 42)
			b[37] = 1
			f.evidence.Counter = Count{7, f.certify(attestNV, b)}
		}, ErrTampered, "offset"},
		{"an index that anybody writes", func(f *fake) {
			area := CounterArea(7)
			area[9] &^= nvAttrCounter // type: an ordinary index
			n := NameOf(area)
			b := binary.BigEndian.AppendUint16(appendSized(nil, n[:]), 0)
			f.evidence.Counter = Count{7, f.certify(attestNV, appendSized(b, make([]byte, 8)))}
		}, ErrTampered, "not a counter"},
		{"a name of another hash", func(f *fake) {
			b := counterBody(7, 42)
			b[3] = 0x0c
			f.evidence.Counter = Count{7, f.certify(attestNV, b)}
		}, ErrTampered, "hash algorithm"},
		{"a byte after a statement", func(f *fake) {
			f.evidence.Counter = Count{7, f.certify(attestNV, append(counterBody(7, 42), 0))}
		}, ErrTampered, "after the end"},
		{"a statement that ends early", func(f *fake) { f.evidence.Counter = Count{7, f.certify(attestNV, nil)} }, ErrTampered, "bytes wanted"},
		{"the other form of a signature", func(f *fake) {
			raw := f.evidence.Quote.Signature.Bytes
			s := new(big.Int).SetBytes(raw[32:])
			s.Sub(elliptic.P256().Params().N, s).FillBytes(raw[32:])
		}, ErrTampered, "does not verify"},
		{"an attestation key that is none", func(f *fake) { f.evidence.AK = f.evidence.AK[1:] }, ErrTampered, "couldn't decode"},
		{"an identity key that is none", func(f *fake) { f.evidence.Identity.Area = nil }, ErrTampered, "couldn't decode"},
		{"an approval key that is none", func(f *fake) { f.evidence.Approval.Key.Area = nil }, ErrTampered, "couldn't decode"},
		{"bytes after a key's area", func(f *fake) { f.evidence.Decision.Area = append(f.evidence.Decision.Area, 0) }, ErrTampered, "after the end"},
		{"a terminal's control characters", func(f *fake) { f.evidence.Model = "\x1b[2J" }, ErrTampered, "printable"},
	} {
		f := newFake(t)
		tc.spoil(f)
		if _, err := f.verify(); !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v; want %v that says %q", tc.name, err, tc.is, tc.say)
		}
	}
}

func TestApprovalKeyOf(t *testing.T) {
	for _, name := range []string{"plain", "approval"} {
		b, w := golden(t, name)
		if area, err := ApprovalKey(KindTPM, b); err != nil || !bytes.Equal(area, w.Approval) {
			t.Errorf("%s: %x, %v; want %x", name, area, err, w.Approval)
		}
		if _, err := ApprovalKey(2, b); err == nil {
			t.Error("evidence of an unknown kind has an approval key")
		}
		if _, err := ApprovalKey(KindTPM, b[1:]); err == nil {
			t.Error("evidence that doesn't decode has an approval key")
		}
	}
}

func TestDecodeArea(t *testing.T) {
	_, k := p256(t)
	for _, policy := range [][]byte{nil, make([]byte, 32)} {
		a := Area{signAttributes, policy, k}
		b := a.Encode()
		got, err := DecodeArea(b)
		if err != nil || !bytes.Equal(got.Encode(), b) {
			t.Fatalf("%v", err)
		}
		if _, err := DecodeArea(append(bytes.Clone(b), 0)); err == nil || !strings.Contains(err.Error(), "after the end") {
			t.Errorf("byte appended: %v", err)
		}
		for i := range b {
			d := bytes.Clone(b)
			d[i] ^= 0x80
			if got, err := DecodeArea(d); err == nil && !bytes.Equal(got.Encode(), d) {
				t.Errorf("byte %d: decodes, and encodes otherwise", i)
			}
			if _, err := DecodeArea(b[:i]); err == nil {
				t.Errorf("cut to %d bytes it decodes", i)
			}
		}
	}
}

func FuzzDecodeTPM(f *testing.F) {
	for _, name := range []string{"plain", "approval"} {
		b, _ := golden(f, name)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeTPM(b)
		if err == nil && !bytes.Equal(e.Encode(), b) {
			t.Fatalf("decoded %x, encoded %x", b, e.Encode())
		}
	})
}

func FuzzVerify(f *testing.F) {
	b, w := golden(f, "plain")
	f.Add(b)
	f.Fuzz(func(t *testing.T, d []byte) {
		if _, err := Verify(KindTPM, d, w); err == nil && !bytes.Equal(b, d) {
			t.Fatalf("other bytes pass: %x", d)
		}
	})
}

func FuzzDecodeAttested(f *testing.F) {
	b, _ := golden(f, "plain")
	e, err := DecodeTPM(b)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []Signed{e.Quote, e.Identity.Created, e.Counter.Value} {
		f.Add(s.Attest)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []uint16{attestQuote, attestCreation, attestNV} {
			if a, err := decodeAttested(b, kind); err == nil && a.Type != binary.BigEndian.Uint16(b[4:]) {
				t.Fatalf("%x is decoded as kind %x", b, kind)
			}
		}
	})
}

func FuzzDecodeArea(f *testing.F) {
	_, k := p256(f)
	f.Add(Area{signAttributes, nil, k}.Encode())
	f.Add(Area{approvalAttributes, make([]byte, 32), k}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := DecodeArea(b); err == nil && !bytes.Equal(a.Encode(), b) {
			t.Fatalf("decoded %x, encoded %x", b, a.Encode())
		}
	})
}
