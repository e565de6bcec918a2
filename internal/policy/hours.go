package policy

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/wire"
)

// Hours is a weekly time, "Mon-Fri 08:00-18:00": from From until To on each of
// Days. When To is before From it ends on the next day.
type Hours struct {
	Days uint8  // bit 0 Monday … bit 6 Sunday
	From uint16 // minutes since midnight, 0 to 1439
	To   uint16 // 1 to 1440
}

var dayNames = [7]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// Num packs the hours for Expr.Num: days·2^32 + from·2^16 + to.
func (h Hours) Num() chain.Amount {
	return *new(chain.Amount).SetUint64(uint64(h.Days)<<32 | uint64(h.From)<<16 | uint64(h.To))
}

// HoursOf is the inverse of Num.
func HoursOf(n *chain.Amount) (Hours, error) {
	u := n.Uint64()
	h := Hours{uint8(u >> 32), uint16(u >> 16), uint16(u)}
	if !n.IsUint64() || u>>39 != 0 || h.Days == 0 || h.From > 1439 || h.To == 0 || h.To > 1440 || h.From == h.To {
		return Hours{}, fmt.Errorf("hours %s: want days 1 to 127, from 0 to 1439, to 1 to 1440 and not from", n.Hex())
	}
	return h, nil
}

// String is the form that ParseDuring reads, without the zone.
func (h Hours) String() string {
	var days []string
	for i := 0; i < 7; i++ {
		if h.Days>>i&1 == 0 {
			continue
		}
		j := i
		for j < 6 && h.Days>>(j+1)&1 == 1 {
			j++
		}
		switch {
		case j == i:
			days = append(days, dayNames[i])
		case j == i+1:
			days = append(days, dayNames[i], dayNames[j])
		default:
			days = append(days, dayNames[i]+"-"+dayNames[j])
		}
		i = j
	}
	return fmt.Sprintf("%s %02d:%02d-%02d:%02d", strings.Join(days, ","), h.From/60, h.From%60, h.To/60, h.To%60)
}

// ParseDuring reads "Mon-Fri 08:00-18:00 Europe/Zurich"; days are a list of days
// and ranges, "Mon,Wed-Fri", and may be left out for every day.
func ParseDuring(text string) (Hours, string, error) {
	fail := func(why string) (Hours, string, error) {
		return Hours{}, "", fmt.Errorf(`%q: %s; want days, hours and a zone such as "Mon-Fri 08:00-18:00 Europe/Zurich"`, wire.CleanText(text, 80), why)
	}
	parts := strings.Fields(text)
	h := Hours{Days: 127}
	switch len(parts) {
	case 2:
	case 3:
		days, err := parseDays(parts[0])
		if err != nil {
			return fail(err.Error())
		}
		h.Days, parts = days, parts[1:]
	default:
		return fail(fmt.Sprintf("%d words", len(parts)))
	}
	from, to, ok := strings.Cut(parts[0], "-")
	var okFrom, okTo bool
	h.From, okFrom = parseClock(from)
	h.To, okTo = parseClock(to)
	if !ok || !okFrom || !okTo {
		return fail(fmt.Sprintf("%q are no hours", wire.CleanText(parts[0], 80)))
	}
	if h.To == 0 {
		h.To = 1440
	}
	if h.From == 1440 || h.From == h.To {
		return fail(fmt.Sprintf("%q is no time", parts[0]))
	}
	if err := checkZoneName(parts[1]); err != nil {
		return fail(err.Error())
	}
	return h, parts[1], nil
}

func parseDays(text string) (uint8, error) {
	var days uint8
	for _, part := range strings.Split(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		i, j := dayIndex(first), dayIndex(last)
		if i < 0 || j < 0 {
			return 0, fmt.Errorf("%q is no day, want %s", wire.CleanText(part, 80), strings.Join(dayNames[:], ", "))
		}
		for ; ; i = (i + 1) % 7 {
			days |= 1 << i
			if i == j {
				break
			}
		}
	}
	return days, nil
}

func dayIndex(name string) int {
	for i, d := range dayNames {
		if strings.EqualFold(d, name) {
			return i
		}
	}
	return -1
}

// parseClock reads "08:00", up to "24:00".
func parseClock(s string) (uint16, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	n := 0
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n = int(s[0]-'0')*600 + int(s[1]-'0')*60
	minutes := int(s[3]-'0')*10 + int(s[4]-'0')
	if minutes > 59 || n+minutes > 1440 {
		return 0, false
	}
	return uint16(n + minutes), true
}

// checkTime checks during, before and after.
func (d *Document) checkTime(e *Expr) error {
	if e.Op != OpDuring {
		if !e.Num.IsUint64() || e.Num.Uint64() > maxUnix {
			return wrong(e, "%s is no time: want unix seconds up to the year 9999", e.Num.Dec())
		}
		return nil
	}
	if _, err := HoursOf(&e.Num); err != nil {
		return wrong(e, "%v", err)
	}
	if _, ok := d.zone(e.Text); !ok {
		return wrong(e, "zone %q is not one of this policy's zones", wire.CleanText(e.Text, 80))
	}
	return nil
}

// maxUnix is the last second of the year 9999.
const maxUnix = 253402300799

func checkZoneName(s string) error {
	ok := len(s) >= 1 && len(s) <= 64
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || i > 0 && (c == '/' || c == '_' || c == '-' || c == '+')
	}
	if !ok {
		return fmt.Errorf("zone %q: want a name such as Europe/Zurich or UTC", wire.CleanText(s, 80))
	}
	return nil
}
