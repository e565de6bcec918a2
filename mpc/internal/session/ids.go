package session

import (
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// WriteIDs writes a list of participants: its count, then each.
func WriteIDs(w *wire.Writer, ids []mpc.ID) {
	w.Count(len(ids))
	for _, id := range ids {
		w.Uint16(uint16(id))
	}
}

// ReadIDs reads what WriteIDs wrote. Order and doubles are for the caller to
// check (sharing.CheckIDs).
func ReadIDs(r *wire.Reader, field string) []mpc.ID {
	ids := make([]mpc.ID, r.Count(field, mpc.MaxParties, 2))
	for i := range ids {
		ids[i] = mpc.ID(r.Uint16(field))
	}
	return ids
}
