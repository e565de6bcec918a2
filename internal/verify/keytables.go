package verify

import (
	"sync"

	"github.com/cofferhq/coffer/internal/signature"
)

// keyTables are tables of the people's and services' Ed25519 keys that sign often. They
// only ever say yes, and to what signature.Verify takes; it decides every other.
type keyTables struct {
	mu   sync.Mutex
	uses map[signature.PublicKey]*tableUse
	made int
}

type tableUse struct {
	signatures int
	table      *signature.Table
}

// maxTables bounds the memory for tables: 1.3 MB each.
const maxTables = 48

// confirms implements identity.Confirms; many may ask at a time.
func (t *keyTables) confirms(key signature.PublicKey, st signature.Statement, sig signature.Signature) bool {
	if key.Algorithm != signature.Ed25519 || sig.Algorithm != signature.Ed25519 {
		return false
	}
	table := t.of(key)
	if table == nil {
		return false
	}
	digest := st.Digest()
	return table.Confirms(digest[:], sig.Bytes)
}

// of counts a use of a key, and makes its table when that is worth it.
func (t *keyTables) of(key signature.PublicKey) *signature.Table {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.uses == nil {
		t.uses = map[signature.PublicKey]*tableUse{}
	}
	u := t.uses[key]
	if u == nil {
		u = new(tableUse)
		t.uses[key] = u
	}
	if u.signatures++; u.signatures == worthTable && t.made < maxTables {
		u.table = signature.NewTable(key)
		t.made++
	}
	return u.table
}
