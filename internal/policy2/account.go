package policy

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/chain/solana"
)

// Accounts and assets are compared as strings, so a policy may hold only what a
// codec writes: an address book with another spelling of a blocked address would
// block nothing. For families without a codec here, the form is checked.

// checkAsset checks a CAIP-19 asset.
func checkAsset(s string) error {
	id, namespace, reference, err := chain.ParseAsset(s)
	if err != nil {
		return err
	}
	if err := family.CheckChain(id); err != nil {
		return err
	}
	if strings.HasPrefix(id, evm.Namespace+":") && namespace == "erc20" {
		return family.CheckAccount(id + ":" + reference)
	}
	if strings.HasPrefix(id, solana.Namespace+":") && s != solana.NativeAsset {
		return fmt.Errorf("asset %s: want %s, no other of this chain is understood", s, solana.NativeAsset)
	}
	return nil
}
