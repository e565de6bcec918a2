package policy

import "github.com/cofferhq/coffer/internal/chain/family"

// Accounts and assets are compared as strings, so a policy may hold only what a
// codec writes: an address book with another spelling of a blocked address would
// block nothing. For families without a codec here, the form is checked.

// checkAsset checks a CAIP-19 asset.
func checkAsset(s string) error { return family.CheckAsset(s) }
