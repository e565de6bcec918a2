package evm

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/chain"
)

func samples(t testing.TB) map[string]*Transaction {
	to := address(t, "0x3535353535353535353535353535353535353535")
	huge := chain.Amount{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}
	return map[string]*Transaction{
		"empty type 0": {Type: TypeLegacy, ChainID: 1},
		"empty type 2": {Type: TypeDynamicFee, ChainID: 1},
		"type 0": {
			Type: TypeLegacy, ChainID: 137, Nonce: 9, TipCap: amount(20e9), FeeCap: amount(20e9),
			Gas: 21000, To: &to, Value: amount(1e18), Data: []byte{0x80},
		},
		"greatest": {
			Type: TypeDynamicFee, ChainID: maxChainID, Nonce: math.MaxUint64, TipCap: huge, FeeCap: huge,
			Gas: math.MaxUint64, To: &to, Value: huge, Data: bytes.Repeat([]byte{0xff}, MaxData),
			AccessList: []AccessTuple{{Address: to, Keys: [][32]byte{{}, {1}}}, {}},
		},
		"creation": {Type: TypeDynamicFee, ChainID: 1, Data: bytes.Repeat([]byte{7}, 55)},
		"56 bytes": {Type: TypeDynamicFee, ChainID: 1, Data: bytes.Repeat([]byte{7}, 56)},
		"data 0":   {Type: TypeDynamicFee, ChainID: 1, Data: []byte{0}},
		"data 7f":  {Type: TypeDynamicFee, ChainID: 1, Data: []byte{0x7f}},
	}
}

func TestTransactionRoundTrip(t *testing.T) {
	for name, tx := range samples(t) {
		t.Run(name, func(t *testing.T) {
			b, err := tx.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeUnsigned(b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tx, got); d != "" {
				t.Fatal(d)
			}
			for n := range min(len(b), 300) {
				if _, err := DecodeUnsigned(b[:n]); err == nil {
					t.Fatalf("the first %d of %d bytes were accepted", n, len(b))
				}
			}
			if _, err := DecodeUnsigned(append(b, 0)); err == nil {
				t.Fatal("a trailing byte was accepted")
			}
		})
	}
}

// fields builds transactions by hand, so that one field can be wrong.
func fields(replace map[int]string) string {
	f := []string{"01", "09", "01", "0a", "825208", "94" + strings.Repeat("35", 20), "05", "80", "c0"}
	for i, s := range replace {
		f[i] = s
	}
	return strings.Join(f, "")
}

func rlpList(t testing.TB, prefix, body string) []byte {
	e := rlpEncoder{buf: unhex(t, body)}
	return e.wrap(unhex(t, prefix)...)
}

// TestDecodeUnsignedRefuses is the list of what strict means.
func TestDecodeUnsignedRefuses(t *testing.T) {
	to := "94" + strings.Repeat("35", 20)
	legacy := "0901825208" + to + "0580"
	key := "a0" + strings.Repeat("01", 32)
	if _, err := DecodeUnsigned(rlpList(t, "02", fields(nil))); err != nil {
		t.Fatalf("the good transaction is refused: %v", err)
	}
	type2 := func(i int, s string) []byte { return rlpList(t, "02", fields(map[int]string{i: s})) }
	for name, c := range map[string]struct {
		raw  []byte
		word string
	}{
		"empty":                  {nil, "empty"},
		"oversized":              {make([]byte, MaxUnsigned+1), "at most 196608"},
		"type 1":                 {rlpList(t, "01", fields(nil)), "transaction type 1, want 0 or 2"},
		"type 3":                 {rlpList(t, "03", fields(nil)), "transaction type 3, want 0 or 2"},
		"type 4":                 {rlpList(t, "04", fields(nil)), "transaction type 4, want 0 or 2"},
		"type 0x7f":              {[]byte{0x7f}, "transaction type 127"},
		"type 0 with its number": {rlpList(t, "00", fields(nil)), "transaction type 0"},
		"string":                 {[]byte{0x82, 1, 2}, "first byte 0x82"},
		"type 2 alone":           {[]byte{2}, "rlp item ends early"},
		"type 2 of a string":     {[]byte{2, 0x80}, "a byte string where a list belongs"},

		"before EIP-155":       {rlpList(t, "", legacy), "before EIP-155"},
		"legacy, no chain":     {rlpList(t, "", legacy+"808080"), "chain id 0"},
		"legacy, 7 fields":     {rlpList(t, "", legacy+"01"), "r: rlp item ends early"},
		"legacy, 10 fields":    {rlpList(t, "", legacy+"01808080"), "more fields"},
		"legacy, signed":       {rlpList(t, "", legacy+"25"+key+key), "signed already"},
		"legacy, r zero byte":  {rlpList(t, "", legacy+"010080"), "signed already"},
		"legacy, r list":       {rlpList(t, "", legacy+"01c080"), "r: a list"},
		"legacy, trailing":     {append(rlpList(t, "", legacy+"018080"), 0x80), "1 bytes after the end"},
		"legacy, huge chain":   {rlpList(t, "", legacy+"887fffffffffffffdc8080"), "EIP-2294"},
		"type 2, chain 0":      {type2(0, "80"), "chain id 0"},
		"type 2, signed":       {rlpList(t, "02", fields(nil)+"01"+key+key), "signed already"},
		"type 2, 10 fields":    {rlpList(t, "02", fields(nil)+"01"), "r: rlp item ends early"},
		"type 2, 13 fields":    {rlpList(t, "02", fields(nil)+"01010101"), "more fields"},
		"type 2, 8 fields":     {type2(8, ""), "access list: rlp item ends early"},
		"type 2, trailing":     {append(rlpList(t, "02", fields(nil)), 0), "1 bytes after the end"},
		"nonce, leading zero":  {type2(1, "820009"), "nonce: integer with a leading zero"},
		"nonce, zero byte":     {type2(1, "00"), "nonce: integer with a leading zero"},
		"nonce, 9 bytes":       {type2(1, "89010000000000000000"), "nonce: integer of 9 bytes"},
		"nonce, list":          {type2(1, "c0"), "nonce: a list"},
		"tip, 33 bytes":        {type2(2, "a1"+strings.Repeat("01", 33)), "priority fee cap: integer of 33 bytes"},
		"cap, leading zero":    {type2(3, "820001"), "fee cap: integer with a leading zero"},
		"gas, 9 bytes":         {type2(4, "89010000000000000000"), "gas: integer of 9 bytes"},
		"to, 19 bytes":         {type2(5, "93"+strings.Repeat("35", 19)), "to: address of 19 bytes"},
		"to, 21 bytes":         {type2(5, "95"+strings.Repeat("35", 21)), "to: address of 21 bytes"},
		"to, list":             {type2(5, "c0"), "to: a list"},
		"value, leading zero":  {type2(6, "820005"), "value: integer with a leading zero"},
		"value, 33 bytes":      {type2(6, "a1"+strings.Repeat("01", 33)), "value: integer of 33 bytes"},
		"data, list":           {type2(7, "c0"), "data: a list"},
		"data, long":           {type2(7, "ba020001"+strings.Repeat("00", MaxData+1)), "data: 131073 bytes"},
		"access list, string":  {type2(8, "80"), "access list: a byte string"},
		"access entry, string": {type2(8, "c180"), "access list entry: a byte string"},
		"access address":       {type2(8, "d6d593"+strings.Repeat("35", 19)+"c0"), "access list address: 19 bytes"},
		"access, no keys":      {type2(8, "d6d5"+to), "access list keys: rlp item ends early"},
		"access key":           {type2(8, "d8d7"+to+"c101"), "access list key: 1 bytes"},
		"access, 3 fields":     {type2(8, "d8d7"+to+"c080"), "more than an address"},
		"inner list too long":  {type2(8, "c1"), "rlp item ends early"},

		"single byte with length": {type2(7, "8105"), "rlp byte below 0x80"},
		"short in long form":      {type2(7, "b837"+strings.Repeat("01", 55)), "rlp length below 56"},
		"length leading zero":     {type2(7, "b90038"+strings.Repeat("01", 56)), "rlp length with a leading zero"},
		"length past the end":     {type2(7, "bfffffffffffffffff"), "rlp item ends early"},
		"length cut":              {rlpList(t, "02", "b9"), "rlp item ends early"},
		"list in long form":       {append([]byte{2, 0xf8, byte(len(fields(nil)) / 2)}, unhex(t, fields(nil))...), "rlp length below 56"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeUnsigned(c.raw)
			wantError(t, err, c.word)
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, tx := range map[string]*Transaction{
		"type 1":           {Type: 1, ChainID: 1},
		"type 0 with list": {Type: 0, ChainID: 1, AccessList: []AccessTuple{{}}},
		"type 0 with tip":  {Type: 0, ChainID: 1, TipCap: amount(1)},
		"chain 0":          {Type: 2},
		"chain too large":  {Type: 2, ChainID: maxChainID + 1},
		"data":             {Type: 2, ChainID: 1, Data: make([]byte, MaxData+1)},
	} {
		if b, err := tx.Encode(); err == nil {
			t.Errorf("%s: encoded as %x", name, b)
		}
		if _, err := tx.Digest(); err == nil {
			t.Errorf("%s: has a digest", name)
		}
	}
}

func TestFromUnsigned(t *testing.T) {
	all := samples(t)
	b, _ := all["type 0"].Encode()
	got, err := FromUnsigned(b)
	if err != nil {
		t.Fatal(err)
	}
	want := &Draft{
		Chain: "eip155:137", Intent: &Intent{To: all["type 0"].To, Value: amount(1e18), Data: []byte{0x80}},
		Nonce: 9, Gas: 21000, TipCap: amount(20e9), FeeCap: amount(20e9), MaxFee: amount(21000 * 20e9),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	all["data 0"].AccessList = []AccessTuple{{}}
	b, _ = all["data 0"].Encode()
	_, err = FromUnsigned(b)
	wantError(t, err, "access list of 1 entries")
	all["greatest"].AccessList = nil
	b, _ = all["greatest"].Encode()
	_, err = FromUnsigned(b)
	wantError(t, err, "above 256 bits")
	if _, err = FromUnsigned(rlpList(t, "02", fields(nil)+"80"+"80"+"80")); !errors.Is(err, ErrSigned) {
		t.Errorf("a signed transaction: %v, want ErrSigned", err)
	}
}

func TestIntentEncoding(t *testing.T) {
	to := address(t, "0x3535353535353535353535353535353535353535")
	in := &Intent{To: &to, Value: amount(0x0102), Data: []byte{0xaa, 0xbb}}
	want := "01" + "01" + strings.Repeat("35", 20) + strings.Repeat("00", 30) + "0102" + "00000002" + "aabb"
	b := in.Encode()
	if got := fmt.Sprintf("%x", b); got != want {
		t.Fatalf("encoding %s, want %s", got, want)
	}
	got, err := DecodeIntent(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, got); d != "" {
		t.Fatal(d)
	}
	creation := &Intent{Data: []byte{1}}
	if got := fmt.Sprintf("%x", creation.Encode()); got != "0100"+strings.Repeat("00", 32)+"0000000101" {
		t.Fatalf("creation is encoded as %s", got)
	}
	for n := range b {
		if _, err := DecodeIntent(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(b))
		}
	}
	for name, bad := range map[string][]byte{
		"version": append([]byte{2}, b[1:]...), "flag": append([]byte{1, 2}, b[2:]...), "trailing": append(bytes.Clone(b), 0),
		"data": (&Intent{Data: make([]byte, MaxData+1)}).Encode(),
	} {
		if _, err := DecodeIntent(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecodeIntent(f *testing.F) {
	to := address(f, "0x3535353535353535353535353535353535353535")
	f.Add(NewTransfer(to, amount(1)).Encode())
	f.Add(NewERC20Transfer(to, to, amount(1)).Encode())
	f.Add(new(Intent).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := DecodeIntent(b)
		if err != nil {
			return
		}
		if !bytes.Equal(in.Encode(), b) {
			t.Fatalf("accepted %x, which encodes as %x", b, in.Encode())
		}
		checkEffects(t, in, nil)
	})
}

func FuzzDecodeUnsigned(f *testing.F) {
	for _, tx := range samples(f) {
		b, err := tx.Encode()
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Add(rlpList(f, "02", fields(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := DecodeUnsigned(b)
		if err != nil {
			return
		}
		again, err := tx.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, which encodes as %x, %v", b, again, err)
		}
		if digest, err := tx.Digest(); err != nil || digest != keccak256(b) {
			t.Fatalf("digest of %x is %x, %v", b, digest, err)
		}
	})
}
