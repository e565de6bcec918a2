package policy

import (
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// Accounts and assets are compared as strings, so a policy may hold only what a
// codec writes: an address book with another spelling of a blocked address would
// block nothing. For families without a codec here, the form is checked.

// checkAccount checks a CAIP-10 account.
func checkAccount(s string) error {
	if _, _, err := chain.ParseAccount(s); err != nil {
		return err
	}
	if strings.HasPrefix(s, evm.Namespace+":") {
		_, _, err := evm.ParseAccount(s)
		return err
	}
	return nil
}

// checkChain checks a CAIP-2 chain.
func checkChain(s string) error {
	if err := chain.CheckID(s); err != nil {
		return err
	}
	if strings.HasPrefix(s, evm.Namespace+":") {
		_, err := evm.ParseChain(s)
		return err
	}
	return nil
}

// checkAsset checks a CAIP-19 asset.
func checkAsset(s string) error {
	id, namespace, reference, err := chain.ParseAsset(s)
	if err != nil {
		return err
	}
	if err := checkChain(id); err != nil {
		return err
	}
	if strings.HasPrefix(id, evm.Namespace+":") && namespace == "erc20" {
		return checkAccount(id + ":" + reference)
	}
	return nil
}
