package vault

import (
	"bytes"
	"fmt"
)

// Remains returns a function that names the secrets of now that are still readable
// where they were.
func (v *Vault) Remains() func() []string {
	logKey, session, channel := v.logKey, v.session, v.channelKey.Reveal()
	var checks []func() string
	check := func(name string, alive func() bool) {
		checks = append(checks, func() string {
			if alive() {
				return name
			}
			return ""
		})
	}
	nonzero := func(b []byte) bool { return !bytes.Equal(b, make([]byte, len(b))) }
	check("log key", func() bool { return nonzero(logKey) })
	check("session key", func() bool { return nonzero(session) })
	check("channel key", func() bool { return nonzero(channel) })
	for _, k := range v.keys {
		share := k.held.share
		before := share.Encode()
		check("share of "+k.name, func() (alive bool) {
			defer func() {
				if recover() != nil { // a destroyed one does not encode
					alive = false
				}
			}()
			return bytes.Equal(share.Encode(), before)
		})
	}
	for id, p := range v.peers {
		if p.setup != nil {
			alice := p.setup.Alice
			check(fmt.Sprint("pair setup with ", id), func() bool { return alice.Delta != [16]byte{} })
		}
	}
	for _, s := range v.signs {
		if s.run != nil {
			check("signing session", func() bool { return v.signs[s.attempt] == s && s.share != nil })
		}
	}
	return func() (out []string) {
		for _, c := range checks {
			if name := c(); name != "" {
				out = append(out, name)
			}
		}
		return out
	}
}
