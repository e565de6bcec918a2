package identity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

const maxOrigin = 255 // bytes

func (ro *Roster) checkOrigins() error {
	if len(ro.Origins) > MaxOrigins {
		return refuse("", "%d origins, at most %d", len(ro.Origins), MaxOrigins)
	}
	for i, o := range ro.Origins {
		if err := checkOrigin(o); err != nil {
			return refuse("an origin such as https://coffer.example", "origins[%d]: %v", i, err)
		}
		if i > 0 && ro.Origins[i-1] >= o {
			return refuse("different origins, sorted", "origins: %q comes after %q", o, ro.Origins[i-1])
		}
	}
	return nil
}

// checkOrigin takes a web origin as browsers write it: https, or http on localhost;
// host in lower case; the port only when it is not the scheme's own.
func checkOrigin(o string) error {
	fail := func(why string) error {
		return fmt.Errorf("%q: %s", wire.CleanText(o, 80), why)
	}
	if len(o) > maxOrigin {
		return fail(fmt.Sprintf("%d bytes, at most %d", len(o), maxOrigin))
	}
	scheme, rest, ok := strings.Cut(o, "://")
	if !ok || scheme != "https" && scheme != "http" {
		return fail("want https://HOST or http://localhost:PORT")
	}
	host, port, hasPort := strings.Cut(rest, ":")
	if scheme == "http" && host != "localhost" {
		return fail("http is for localhost only")
	}
	if err := checkHost(host); err != nil {
		return fail(err.Error())
	}
	if !hasPort {
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	own := uint64(443)
	if scheme == "http" {
		own = 80
	}
	if err != nil || n == 0 || n == own || strconv.FormatUint(n, 10) != port {
		return fail("want a port from 1 to 65535 that is not the scheme's own, or none")
	}
	return nil
}

// checkHost takes a domain name in lower case (an internationalised one in its
// ASCII form). Addresses are none: passkeys are bound to domains.
func checkHost(host string) error {
	labels := strings.Split(host, ".")
	for _, l := range labels {
		ok := len(l) > 0 && len(l) <= 63 && l[0] != '-' && l[len(l)-1] != '-'
		for i := 0; ok && i < len(l); i++ {
			ok = 'a' <= l[i] && l[i] <= 'z' || '0' <= l[i] && l[i] <= '9' || l[i] == '-'
		}
		if !ok {
			return fmt.Errorf("host: want a domain name in lower case")
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return fmt.Errorf("host: want a domain name, not an address")
	}
	return nil
}

// checkPasskeys: a passkey of a site that is not among the origins could never sign.
func (ro *Roster) checkPasskeys() error {
	for i := range ro.Principals {
		p := &ro.Principals[i]
		for j, k := range p.Credentials {
			if k.Algorithm.IsPasskey() && !slices.ContainsFunc(ro.Origins, func(o string) bool { return serves(o, k) }) {
				return refuse("the origin of the page where it was made among the roster's origins",
					"principal %s: credentials[%d]: the passkey %s belongs to none of the %d origins", p.ID, j, k.Fingerprint(), len(ro.Origins))
			}
		}
	}
	return nil
}

// serves reports whether a page of this origin may use the passkey: its host, or a
// domain that the host is in, is the relying party's id.
func serves(origin string, k signature.PublicKey) bool {
	rp, ok := k.RPHash()
	_, host, _ := strings.Cut(origin, "://")
	host, _, _ = strings.Cut(host, ":")
	for ok && host != "" {
		if sha256.Sum256([]byte(host)) == rp {
			return true
		}
		_, host, _ = strings.Cut(host, ".")
	}
	return false
}

// verifyOrigin checks where a passkey's good signature was made.
func (ro *Roster) verifyOrigin(principal string, key signature.PublicKey, sig signature.Signature) error {
	origin, err := sig.Origin()
	if err == nil && slices.Contains(ro.Origins, origin) && serves(origin, key) {
		return nil
	}
	return refusal.Newf("identity.origin", "a signature made on "+strings.Join(ro.Origins, ", "),
		"%s signed with a passkey on %q, which is no origin of this roster for it", principal, wire.CleanText(origin, 80))
}

// passkeyFault adds what is wrong with a passkey's signature: its owner can often do
// something about it.
func passkeyFault(key signature.PublicKey, err error) string {
	var why *signature.AssertionError
	if !key.Algorithm.IsPasskey() || !errors.As(err, &why) {
		return ""
	}
	return ": " + why.Why
}
