package source

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the same answers on every machine

	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/policy"
)

// zoneFrom is where compiled zones begin: before every request that there is.
var zoneFrom = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// maxYear is the last year until which a zone may be compiled. Laws change sooner.
const maxYear = 2099

// Zone compiles a time zone of Go's database into its transitions, known until the
// year until begins.
func Zone(name string, until int) (policy.Zone, error) {
	if name == "" || name == "Local" {
		return policy.Zone{}, fmt.Errorf("zone %q: want a name of the tz database such as Europe/Zurich or UTC", name)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return policy.Zone{}, fmt.Errorf("the tz database has no zone %q%s", name, form.Suggest(name, commonZones))
	}
	if until <= zoneFrom.Year() || until > maxYear {
		return policy.Zone{}, fmt.Errorf("until the year %d, want %d to %d", until, zoneFrom.Year()+1, maxYear)
	}
	end := time.Date(until, 1, 1, 0, 0, 0, 0, time.UTC)
	z := policy.Zone{Name: name, Until: end.Unix()}
	for t := zoneFrom.In(location); t.Before(end); {
		_, offset := t.Zone()
		if n := len(z.Steps); n == 0 || z.Steps[n-1].Offset != int32(offset) { // a change of name only is none
			z.Steps = append(z.Steps, policy.Step{From: t.Unix(), Offset: int32(offset)})
		}
		_, next := t.ZoneBounds()
		if next.IsZero() {
			break
		}
		t = next
	}
	if len(z.Steps) > policy.MaxSteps {
		return policy.Zone{}, fmt.Errorf("zone %s changes %d times until %d, at most %d; want an earlier year", name, len(z.Steps), until, policy.MaxSteps)
	}
	return z, nil
}

// commonZones are what a wrong name is compared with: Go lists no names.
var commonZones = []string{
	"UTC", "Europe/Zurich", "Europe/London", "Europe/Paris", "Europe/Berlin", "Europe/Madrid", "Europe/Rome", "Europe/Vienna", "Europe/Amsterdam",
	"Europe/Lisbon", "Europe/Dublin", "Europe/Stockholm", "Europe/Oslo", "Europe/Warsaw", "Europe/Prague", "Europe/Athens", "Europe/Istanbul",
	"America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Toronto", "America/Sao_Paulo", "America/Mexico_City",
	"Asia/Tokyo", "Asia/Singapore", "Asia/Hong_Kong", "Asia/Shanghai", "Asia/Seoul", "Asia/Dubai", "Asia/Kolkata", "Asia/Jerusalem",
	"Australia/Sydney", "Australia/Melbourne", "Pacific/Auckland", "Africa/Johannesburg", "Africa/Lagos", "Africa/Cairo",
}

// zones reads the section.
func (c *compiler) zones(v *value) {
	v.each("a mapping of zones and the year until which they are compiled, such as {Europe/Zurich: 2035}", func(name string, key, field *value) {
		var z policy.Zone
		if field.isMapping() {
			z = c.explicitZone(name, field)
		} else {
			until := field.integer(zoneFrom.Year()+1, maxYear)
			if until == 0 {
				return
			}
			var err error
			if z, err = Zone(name, until); err != nil {
				key.fail("%v", err)
				return
			}
		}
		c.doc.Zones = append(c.doc.Zones, z)
	})
}

// explicitZone reads transitions that are written out: of a policy that was made
// with another version of the database.
func (c *compiler) explicitZone(name string, v *value) policy.Zone {
	v.fields("until", "steps")
	z := policy.Zone{Name: name}
	if t, ok := v.get("until").moment(); ok {
		z.Until = t
	}
	for _, s := range v.get("steps").items("a list of steps such as {from: 2026-03-29T01:00:00Z, offset: 7200}") {
		s.fields("from", "offset")
		from, _ := s.get("from").moment()
		z.Steps = append(z.Steps, policy.Step{From: from, Offset: int32(s.get("offset").integer(-100000, 100000))})
	}
	if !slices.IsSortedFunc(z.Steps, func(a, b policy.Step) int { return int(a.From - b.From) }) {
		v.fail("the steps are not in order of time")
	}
	return z
}

// moment reads a time into unix seconds.
func (v *value) moment() (int64, bool) {
	s := v.text("a time such as 2027-01-01T00:00:00Z")
	if !v.isText() {
		return 0, false
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		v.fail("%q is no time, want one such as 2027-01-01T00:00:00Z", s)
		return 0, false
	}
	return t.Unix(), true
}

func formatMoment(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

// checkZone says whether the policy knows a zone.
func (c *compiler) checkZone(fail func(string, ...any), name string) {
	var known []string
	for i := range c.doc.Zones {
		if c.doc.Zones[i].Name == name {
			return
		}
		known = append(known, c.doc.Zones[i].Name)
	}
	s := form.Suggest(name, known)
	if s == "" {
		s = fmt.Sprintf("; add it, zones: {%s: 2035}", strings.TrimSpace(name))
	}
	fail("the section zones has no %q%s", name, s)
}
