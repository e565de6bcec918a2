package e2e

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// random makes methods and values for them; geth packs them.
type random struct {
	*rand.Rand
	t testing.TB
}

// argument makes a type: its text as a policy declares it, and geth's.
func (r *random) argument(depth int) (string, abi.ArgumentMarshaling) {
	name := fmt.Sprintf("%c%d", 'a'+r.IntN(26), r.IntN(1e6))
	n := r.IntN(11)
	if depth == 0 {
		n = r.IntN(8)
	}
	var text string
	a := abi.ArgumentMarshaling{Name: name}
	switch {
	case n < 2:
		text = fmt.Sprintf("uint%d", 8*(1+r.IntN(32)))
	case n < 3:
		text = fmt.Sprintf("int%d", 8*(1+r.IntN(32)))
	case n < 4:
		text = fmt.Sprintf("bytes%d", 1+r.IntN(32))
	case n < 8:
		text = []string{"address", "bool", "bytes", "string"}[n-4]
	case n < 9:
		var parts []string
		for range 1 + r.IntN(3) {
			s, c := r.argument(depth - 1)
			parts, a.Components = append(parts, s), append(a.Components, c)
		}
		text, a.Type = "("+strings.Join(parts, ",")+")", "tuple"
	default:
		s, c := r.argument(depth - 1)
		suffix := "[]"
		if n == 9 {
			suffix = fmt.Sprintf("[%d]", 1+r.IntN(3))
		}
		text, _, _ = cutName(s)
		text, a.Type, a.Components = text+suffix, c.Type+suffix, c.Components
	}
	if a.Type == "" {
		a.Type = text
	}
	return text + " " + name, a
}

func cutName(s string) (typ, name string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	return s[:i], s[i+1:], true
}

// fill makes a value of a type of geth's, and the lines that effects show of it.
func (r *random) fill(t *abi.Type, v reflect.Value, path string, out *[]string) {
	add := func(format string, args ...any) { *out = append(*out, path+"="+fmt.Sprintf(format, args...)) }
	switch t.T {
	case abi.TupleTy:
		for i, x := range t.TupleElems {
			r.fill(x, v.Field(i), path+"."+t.TupleRawNames[i], out)
		}
	case abi.SliceTy, abi.ArrayTy:
		if t.T == abi.SliceTy {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
			*out = append(*out, fmt.Sprintf("%s.length=%d", path, v.Len()))
		}
		for i := range v.Len() {
			r.fill(t.Elem, v.Index(i), fmt.Sprintf("%s[%d]", path, i), out)
		}
	case abi.UintTy, abi.IntTy:
		b := make([]byte, t.Size/8)
		r.bytes(b)
		n := new(big.Int).SetBytes(b)
		if t.T == abi.IntTy {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(t.Size-1)))
		}
		switch v.Kind() {
		case reflect.Pointer:
			v.Set(reflect.ValueOf(n))
		case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			v.SetInt(n.Int64())
		default:
			v.SetUint(n.Uint64())
		}
		add("%s", n)
	case abi.BoolTy:
		v.SetBool(r.IntN(2) == 0)
		add("%d", map[bool]int{true: 1}[v.Bool()])
	case abi.AddressTy:
		var a common.Address
		r.bytes(a[:])
		v.Set(reflect.ValueOf(a))
		add("eip155:1:%s", a.Hex())
	case abi.FixedBytesTy:
		b := make([]byte, t.Size)
		r.bytes(b)
		reflect.Copy(v, reflect.ValueOf(b))
		add("0x%x", b)
	case abi.BytesTy:
		b := make([]byte, r.IntN(97))
		r.bytes(b)
		v.SetBytes(b)
		add("0x%x", b)
	case abi.StringTy:
		v.SetString(strings.Repeat("x", r.IntN(97)))
		add("%s", v.String())
	default:
		r.t.Fatalf("type %s", t)
	}
}

func (r *random) bytes(b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// call makes a method and a call of it.
func (r *random) call() (signature string, method abi.Method, data []byte, lines []string) {
	var texts []string
	var args abi.Arguments
	var values []any
	for range 1 + r.IntN(4) {
		text, m := r.argument(3)
		typ, err := abi.NewType(m.Type, "", m.Components)
		if err != nil {
			r.t.Fatal(err)
		}
		v := reflect.New(typ.GetType()).Elem()
		r.fill(&typ, v, m.Name, &lines)
		texts, args, values = append(texts, text), append(args, abi.Argument{Name: m.Name, Type: typ}), append(values, v.Interface())
	}
	method = abi.NewMethod("call", "call", abi.Function, "", false, false, args, nil)
	packed, err := args.Pack(values...)
	if err != nil {
		r.t.Fatal(err)
	}
	return "call(" + strings.Join(texts, ",") + ")", method, append(method.ID, packed...), lines
}

// FuzzCallArguments: what geth packs is read as what was packed; of bytes that are
// changed, what is read is what geth would write of what it reads.
func FuzzCallArguments(f *testing.F) {
	for i := range uint64(200) {
		f.Add(i, uint16(i), byte(i))
	}
	to := evm.Address{19: 7}
	f.Fuzz(func(t *testing.T, seed uint64, at uint16, change byte) {
		r := &random{rand.New(rand.NewPCG(seed, 1)), t}
		signature, method, data, lines := r.call()
		methods := []chain.Method{{Signature: signature}}
		read := func(data []byte) *chain.Effects {
			e, err := evm.Codec{}.Intent("eip155:1", "eip155:1:0x3535353535353535353535353535353535353535", (&evm.Intent{To: &to, Data: data}).Encode(), chain.Amount{}, methods)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		if err := evm.CheckMethod(&methods[0]); err != nil {
			if strings.Contains(err.Error(), "at most") || strings.Contains(err.Error(), "are called") {
				return
			}
			t.Fatal(err)
		}
		e := read(data)
		if e.Undecoded != "" {
			if strings.Contains(e.Undecoded, "values, at most 256") {
				return
			}
			t.Fatalf("%s %x: %s", signature, data, e.Undecoded)
		}
		if e.Calls[0].Method != method.Sig {
			t.Fatalf("method %s, geth's is %s", e.Calls[0].Method, method.Sig)
		}
		var got []string
		for _, a := range e.Calls[0].Args {
			text := a.Text
			if a.Kind == chain.ArgUint || a.Kind == chain.ArgFlag {
				text = a.Uint.Dec()
			}
			got = append(got, a.Path+"="+text)
		}
		if strings.Join(got, "\n") != strings.Join(lines, "\n") {
			t.Fatalf("%s\n%s\nwant\n%s", signature, strings.Join(got, "\n"), strings.Join(lines, "\n"))
		}
		i := 4 + int(at)%(len(data)-4)
		data[i] ^= change
		if e := read(data); e.Undecoded == "" {
			values, err := method.Inputs.Unpack(data[4:])
			if err != nil {
				t.Fatalf("%s %x is read, geth says %v", signature, data, err)
			}
			if strict, err := method.Inputs.Pack(values...); err != nil || !bytes.Equal(strict, data[4:]) {
				t.Fatalf("%s %x is read, geth would write %x, %v", signature, data, strict, err)
			}
		}
	})
}
