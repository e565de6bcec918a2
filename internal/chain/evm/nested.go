package evm

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
)

// The methods that make other calls.
const (
	methodMulticall      = "multicall(bytes[])"
	methodMulticallUntil = "multicall(uint256,bytes[])"
	methodAggregate      = "aggregate3((address,bool,bytes)[])"
	methodAggregateValue = "aggregate3Value((address,bool,uint256,bytes)[])"
	methodExecute        = "execute(address,uint256,bytes)"
	methodExecuteBatch   = "executeBatch((address,uint256,bytes)[])"
	methodExecuteLists   = "executeBatch(address[],uint256[],bytes[])"
	methodExecuteFree    = "executeBatch(address[],bytes[])"
	methodSafe           = "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"
	methodMultiSend      = "multiSend(bytes)"
)

// wrappers are methods that make other calls. Which those are, and who their
// caller is, depends on the code behind the name, which anybody can write: they
// are understood only of contracts that the policy declares them for.
var wrappers, wrappersBySelector = func() (map[string]*method, map[[4]byte]*method) {
	byName, bySelector := make(map[string]*method), make(map[[4]byte]*method)
	for _, name := range []string{
		methodMulticall, methodMulticallUntil, methodAggregate, methodAggregateValue, methodExecute,
		methodExecuteBatch, methodExecuteLists, methodExecuteFree, methodSafe, methodMultiSend,
	} {
		m, err := parseMethod(name)
		if err != nil {
			panic(err)
		}
		byName[name], bySelector[m.selector] = m, m
	}
	return byName, bySelector
}()

// within reads the calls that a wrapper makes.
func within(r *reader, f *frame, name string, v *abiValue) error {
	switch name {
	case methodMulticall:
		return multicall(r, f, &v.items[0])
	case methodMulticallUntil:
		return multicall(r, f, &v.items[1])
	case methodAggregate, methodAggregateValue, methodExecuteBatch:
		return batch(r, f, &v.items[0])
	case methodExecute:
		return r.child(f, frame{from: f.to, to: v.items[0].address(), value: v.items[1].uint(), data: v.items[2].data})
	case methodExecuteLists:
		return lists(r, f, v.items[0].items, v.items[1].items, v.items[2].items)
	case methodExecuteFree:
		return lists(r, f, v.items[0].items, nil, v.items[1].items)
	case methodSafe:
		return safe(r, f, v)
	case methodMultiSend:
		return multiSend(r, f, v.items[0].data)
	}
	return errors.New("no meaning is known")
}

// multicall runs each call in the contract itself, which sees its own caller as
// theirs and the one value as that of each.
func multicall(r *reader, f *frame, calls *abiValue) error {
	for i := range calls.items {
		if err := r.child(f, frame{from: f.from, to: f.to, how: shared, data: calls.items[i].data}); err != nil {
			return err
		}
	}
	return nil
}

// batch makes the calls (target, …, data) one after the other: their caller is
// the contract, and so is who pays their value. Whether one may fail changes
// nothing in the most that happens.
func batch(r *reader, f *frame, calls *abiValue) error {
	for i := range calls.items {
		c := calls.items[i].items
		next := frame{from: f.to, to: c[0].address(), data: c[len(c)-1].data}
		if x := &c[len(c)-2]; x.typ.kind == abiUint {
			next.value = x.uint()
		}
		if err := r.child(f, next); err != nil {
			return err
		}
	}
	return nil
}

// lists is batch with a list for each part; no values at all are zeros.
func lists(r *reader, f *frame, targets, values, data []abiValue) error {
	if len(data) != len(targets) || len(values) != 0 && len(values) != len(targets) {
		return fmt.Errorf("%d targets, %d values and %d calls, want as many of each", len(targets), len(values), len(data))
	}
	for i := range targets {
		next := frame{from: f.to, to: targets[i].address(), data: data[i].data}
		if len(values) > 0 {
			next.value = values[i].uint()
		}
		if err := r.child(f, next); err != nil {
			return err
		}
	}
	return nil
}

// safe is a transaction of a Safe: the Safe makes the call, and pays. A refund of
// gas would be another payment, of an amount that nobody knows before.
func safe(r *reader, f *frame, v *abiValue) error {
	if price := v.items[6].uint(); !price.IsZero() {
		return fmt.Errorf("the Safe pays a refund, at a gasPrice of %s, want 0", price.Dec())
	}
	next := frame{from: f.to, to: v.items[0].address(), value: v.items[1].uint(), data: v.items[2].data}
	switch operation := v.items[3].uint(); {
	case operation.IsZero():
	case operation.IsUint64() && operation.Uint64() == 1 && next.value.IsZero():
		next.how = delegated
	default:
		return fmt.Errorf("operation %s with value %s, want 0, or 1 without value", operation.Dec(), next.value.Dec())
	}
	return r.child(f, next)
}

// multiSend makes calls as the Safe whose code it runs as: each is packed as
// operation (1 byte, 0), recipient (20), value (32), length (32), data.
func multiSend(r *reader, f *frame, b []byte) error {
	if f.how != delegated {
		return errors.New("it is called, want a Safe that runs it")
	}
	for len(b) > 0 {
		if len(b) < 85 {
			return fmt.Errorf("%d bytes at the end, want another transaction of at least 85", len(b))
		}
		to := Address(b[1:21])
		if b[0] != 0 || to == (Address{}) {
			return fmt.Errorf("operation %d to %s, want operation 0 and a recipient", b[0], to)
		}
		n, err := length(b[53:85], "transactions")
		if err != nil {
			return err
		}
		if n > len(b)-85 {
			return fmt.Errorf("%d bytes of data in the last %d", n, len(b)-85)
		}
		next := frame{from: f.from, to: to, data: b[85 : 85+n]}
		next.value.SetBytes32(b[21:53])
		if err := r.child(f, next); err != nil {
			return err
		}
		b = b[85+n:]
	}
	return nil
}

// child reads a call that the call f makes.
func (r *reader) child(f *frame, next frame) error {
	if f.depth == chain.MaxDepth {
		return fmt.Errorf("calls within calls deeper than %d", chain.MaxDepth)
	}
	next.depth = f.depth + 1
	r.call(&next)
	return nil
}
