package policy

import (
	"fmt"
	"sort"
	"time"

	"github.com/cofferhq/coffer/internal/request"
)

const (
	dayLength = 24 * 3600
)

// offset is how far local time is from UTC at t (unix s).
func (z *Zone) offset(t int64) (int64, error) {
	if t >= z.Until {
		return 0, fmt.Errorf("zone %s is known only until %s: the policy must be compiled again", z.Name, instant(z.Until))
	}
	i := sort.Search(len(z.Steps), func(i int) bool { return z.Steps[i].From > t })
	if i == 0 {
		return 0, fmt.Errorf("zone %s is not known at %s", z.Name, instant(t))
	}
	return int64(z.Steps[i-1].Offset), nil
}

// first is the first instant whose local time is local (s since 1970 by the local
// clock) or later.
func (z *Zone) first(local int64) (int64, error) {
	for i, s := range z.Steps {
		t := local - int64(s.Offset)
		if t < s.From {
			if i == 0 {
				return 0, fmt.Errorf("zone %s is not known at %s", z.Name, instant(t))
			}
			t = s.From
		}
		if i+1 == len(z.Steps) || t < z.Steps[i+1].From {
			return t, nil
		}
	}
	return 0, fmt.Errorf("zone %s has no steps", z.Name)
}

func instant(s int64) string { return request.Instant(uint64(max(s, 0)) * 1000) }

// during evaluates a weekly time.
func (e *evaluation) during(n *node) Truth {
	if n.index < 0 {
		return Failed
	}
	now := int64(min(e.now(), maxUnix))
	offset, err := e.doc.Zones[n.index].offset(now)
	if err != nil {
		return Failed
	}
	local := now + offset
	day, minute := floorDiv(local, dayLength), uint16(floorMod(local, dayLength)/60)
	return truth(n.hours.covers(weekday(day), minute))
}

// weekday of a day since 1970-01-01, a Thursday; 0 is Monday.
func weekday(day int64) int { return int(floorMod(day+3, 7)) }

func (h Hours) covers(weekday int, minute uint16) bool {
	on := h.Days>>weekday&1 == 1
	if h.From < h.To {
		return on && h.From <= minute && minute < h.To
	}
	before := h.Days>>((weekday+6)%7)&1 == 1 // it began the day before
	return on && minute >= h.From || before && minute < h.To
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - b*floorDiv(a, b) }

// since is when a window began that ends now, unix ms.
func (e *evaluation) since(w *Window) (uint64, error) {
	if w.Kind == Rolling {
		if e.in.Now < w.Length {
			return 0, nil
		}
		return e.in.Now - w.Length, nil
	}
	z, ok := e.doc.zone(w.Zone)
	if !ok {
		return 0, fmt.Errorf("there is no zone %q", w.Zone)
	}
	now := int64(min(e.now(), maxUnix))
	offset, err := z.offset(now)
	if err != nil {
		return 0, err
	}
	day := floorDiv(now+offset, dayLength)
	switch w.Unit {
	case Week:
		day -= int64(weekday(day))
	case Month, Year:
		y, m, _ := time.Unix(day*dayLength, 0).UTC().Date()
		if w.Unit == Year {
			m = time.January
		}
		day = floorDiv(time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).Unix(), dayLength)
	}
	begin, err := z.first(day * dayLength)
	if err != nil {
		return 0, err
	}
	return uint64(max(begin, 0)) * 1000, nil
}

// WindowStart is when a limit's window began that ends at a time; both unix ms.
func (d *Document) WindowStart(l *Limit, now uint64) (uint64, error) {
	e := evaluation{doc: d, in: Input{Now: now}}
	return e.since(&l.Window)
}
