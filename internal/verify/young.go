package verify

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/audit/logfile"
)

// Copies of the logs of a cluster that runs are made one after another, and an entry may
// rest on one that another log got after it was copied. Whoever makes all copies asks
// before the first one how many entries each log has: these rest only on what every copy has
// to have. An entry behind them is young, and what the copies do not show of it yet is no
// fault; the report says for how many.

// maxCopying is how long the copying of all logs may take, and how far a vault's clock may
// be from the copier's. Without a bound a log that was cut off could for ever be explained by
// entries that are said to be young.
const maxCopying = 10 * 60 * 1000

// young says which entries of a log are.
type young struct {
	exported  *logfile.Exported // nil: none is
	unchecked map[uint64]bool   // entries whose evidence the copies do not have yet
	by        map[uint16]bool   // the vaults whose copies are too old
}

// begun finds the export that the logs are from: there are young entries only when all are
// from one.
func (v *verifier) begun(copies []copied) {
	for _, c := range copies {
		if c.exported == nil || c.exported.Begun != copies[0].exported.Begun {
			for _, l := range v.logs {
				l.young.exported = nil
			}
			return
		}
	}
}

// tooYoung says that an entry, written at a time by its vault's clock, may rest on what the
// copies of these vaults do not have yet, and counts it.
func (l *vaultLog) tooYoung(i, at uint64, vaults ...uint16) bool {
	x := l.young.exported
	if x == nil || i < x.Entries || at+maxCopying < x.Begun {
		return false
	}
	if l.young.unchecked == nil {
		l.young.unchecked, l.young.by = map[uint64]bool{}, map[uint16]bool{}
	}
	l.young.unchecked[i] = true
	for _, id := range vaults {
		l.young.by[id] = true
	}
	return true
}

// sayYoung notes what could not be checked.
func (v *verifier) sayYoung() {
	for _, l := range v.logs {
		n := len(l.young.unchecked)
		if n == 0 {
			continue
		}
		v.report.Counts.Unchecked += n
		var than []string
		for i := range v.start.Vaults {
			if id := v.start.Vaults[i].ID; l.young.by[id] {
				than = append(than, fmt.Sprint(id))
			}
		}
		v.report.note("not yet checked: of the log of vault %d, %s younger than the copy of vault %s: export again, and these are checked", l.id, count(n, "entry is", "entries are"), strings.Join(than, ", "))
	}
}
