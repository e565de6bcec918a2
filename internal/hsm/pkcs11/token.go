package pkcs11

import (
	"fmt"
	"strings"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
)

// token is one that was found.
type token struct {
	slot     uint
	info     p11.TokenInfo
	hardware bool // by the slot's own word
}

// clean makes a device's padded text fit for a terminal.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '�' {
			return -1
		}
		return r
	}, s))
}

func matches(u pkcs11uri.URI, slot uint, i p11.TokenInfo) bool {
	for _, f := range []struct{ want, got string }{
		{u.Token, i.Label}, {u.Manufacturer, i.ManufacturerID}, {u.Model, i.Model}, {u.Serial, i.SerialNumber},
	} {
		if f.want != "" && f.want != clean(f.got) {
			return false
		}
	}
	return u.Slot == nil || *u.Slot == slot
}

// findToken finds the one token that the URI names. The caller holds m.mu for
// reading.
func findToken(m *module, u pkcs11uri.URI) (token, error) {
	slots, err := m.ctx.GetSlotList(true)
	if err != nil {
		return token{}, failed("list the tokens", err)
	}
	var found []token
	var all, matching []string
	for _, slot := range slots {
		info, err := m.ctx.GetTokenInfo(slot)
		if err != nil || info.Flags&p11.CKF_TOKEN_INITIALIZED == 0 {
			continue // a token that is no token, or not yet one
		}
		all = append(all, fmt.Sprintf("%q (serial %s)", clean(info.Label), clean(info.SerialNumber)))
		if !matches(u, slot, info) {
			continue
		}
		t := token{slot: slot, info: info}
		if si, err := m.ctx.GetSlotInfo(slot); err == nil {
			t.hardware = si.Flags&p11.CKF_HW_SLOT != 0
		}
		found, matching = append(found, t), append(matching, all[len(all)-1])
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return token{}, hsm.Errorf(hsm.ErrConfig, "add serial=… to the URI",
			"%d tokens match %s: %s", len(found), name(u), strings.Join(matching, ", "))
	case len(all) == 0:
		return token{}, hsm.Errorf(hsm.ErrUnavailable, "insert the token; for SoftHSM, check that "+envSoftHSM+" names its configuration",
			"no token matches %s: the module %s shows none", name(u), m.path)
	}
	return token{}, hsm.Errorf(hsm.ErrUnavailable, "insert the token, or correct the URI",
		"no token matches %s: the module %s shows %s", name(u), m.path, strings.Join(all, ", "))
}

// name is the part of a URI that says which token.
func name(u pkcs11uri.URI) string {
	u.Module, u.PIN, u.Object, u.Init = "", "", "", ""
	return u.String()
}
