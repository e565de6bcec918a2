// Package family lists the chain families that Coffer reads, and finds the one of
// a name. It is the only place that knows all of them; a vault is told which to
// read (vault.Config.Codecs).
//
// It is inside the boundary, and trusts nobody: names come from requests,
// policies and coordinators. Whether an account exists it does not know.
package family

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/wire"
)

// Codecs are all families.
func Codecs() []chain.Codec { return []chain.Codec{evm.Codec{}, solana.Codec{}} }

// Of returns the codec of a chain, an account or an asset: their names all begin
// with the family's.
func Of(name string) (chain.Codec, error) {
	var known []string
	for _, c := range Codecs() {
		if strings.HasPrefix(name, c.Namespace()+":") {
			return c, nil
		}
		known = append(known, c.Namespace())
	}
	return nil, fmt.Errorf("%q is of no chain family that is understood here, want one of %s", wire.CleanText(name, 120), strings.Join(known, ", "))
}

// CheckChain checks that a CAIP-2 name is a chain of its family, when the family
// is known, and its form otherwise.
func CheckChain(id string) error {
	if err := chain.CheckID(id); err != nil {
		return err
	}
	switch namespace, _, _ := strings.Cut(id, ":"); namespace {
	case evm.Namespace:
		_, err := evm.ParseChain(id)
		return err
	case solana.Namespace:
		return solana.ParseChain(id)
	}
	return nil
}

// CheckAccount checks that a CAIP-10 name is spelled as its family's codec writes
// it, when the family is known, and its form otherwise.
func CheckAccount(account string) error {
	if _, _, err := chain.ParseAccount(account); err != nil {
		return err
	}
	switch namespace, _, _ := strings.Cut(account, ":"); namespace {
	case evm.Namespace:
		_, _, err := evm.ParseAccount(account)
		return err
	case solana.Namespace:
		_, err := solana.ParseAccount(account)
		return err
	}
	return nil
}

// CheckAsset checks that a CAIP-19 name is spelled as its family's codec writes
// it, when the family is known, and its form otherwise.
func CheckAsset(asset string) error {
	id, _, _, err := chain.ParseAsset(asset)
	if err != nil {
		return err
	}
	if err := CheckChain(id); err != nil {
		return err
	}
	switch namespace, _, _ := strings.Cut(id, ":"); namespace {
	case evm.Namespace:
		return evm.CheckAsset(asset)
	case solana.Namespace:
		if asset != solana.NativeAsset {
			return fmt.Errorf("asset %.120s: want %s, no other of this chain is understood", asset, solana.NativeAsset)
		}
	}
	return nil
}

// CheckMethod checks a method that a policy declares. Methods are declared of EVM
// chains only.
func CheckMethod(m *chain.Method) error { return evm.CheckMethod(m) }

// Declared says what a method or message that a policy declares is about.
func Declared(m *chain.Method) (*evm.Declaration, error) { return evm.Declared(m) }

// Native is a chain's own coin and its units, the one that people use first and
// the smallest last.
func Native(id string) (asset string, units []amount.Unit) {
	if namespace, _, _ := strings.Cut(id, ":"); namespace == solana.Namespace {
		return solana.NativeAsset, amount.Sol
	}
	return evm.NativeAsset(id), amount.Ether
}
