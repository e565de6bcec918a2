package governance

import (
	"bytes"
	"encoding/hex"
	"strconv"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/form"
)

// MeasurementsJSON is what the vaults' machines may run, for people;
// ParseMeasurementsJSON reads it back.
func MeasurementsJSON(p attest.Policy) []byte {
	keys, accepted := []any{}, []any{}
	for _, k := range p.Keys {
		keys = append(keys, form.Object{{Name: "key", Value: hex.EncodeToString(k.AK[:])}, {Name: "note", Value: k.Note}})
	}
	for _, m := range p.Measurements {
		pcrs := []any{}
		for i := range 32 {
			if m.Mask>>i&1 == 1 {
				pcrs = append(pcrs, i)
			}
		}
		accepted = append(accepted, form.Object{
			{Name: "name", Value: m.Name}, {Name: "pcrs", Value: pcrs}, {Name: "digest", Value: hex.EncodeToString(m.Digest[:])},
			{Name: "firmware", Value: strconv.FormatUint(m.Firmware, 16)},
		})
	}
	return form.Write(form.Object{{Name: "emulators", Value: p.Emulators}, {Name: "keys", Value: keys}, {Name: "measurements", Value: accepted}})
}

// ParseMeasurementsJSON reads the form that MeasurementsJSON writes
// (docs/spec/governance.md). Errors name line and field.
func ParseMeasurementsJSON(data []byte) (attest.Policy, error) {
	v, err := form.Parse(data)
	if err != nil {
		return attest.Policy{}, err
	}
	v.Fields("emulators", "keys", "measurements")
	p := attest.Policy{Emulators: v.Get("emulators").Bool()}
	for _, k := range v.Get("keys").Items("a list of attestation keys") {
		k.Fields("key", "note")
		p.Keys = append(p.Keys, attest.TrustedKey{AK: digest(k.Get("key")), Note: k.Get("note").Text("where the machine stands")})
	}
	for _, x := range v.Get("measurements").Items("a list of measurements") {
		x.Fields("name", "pcrs", "digest", "firmware")
		m := attest.Measurement{Kind: attest.KindTPM, Name: x.Get("name").Text("a name for people"), Digest: digest(x.Get("digest"))}
		for _, n := range x.Get("pcrs").Items("a list of PCRs, such as [0, 1, 2, 3, 4, 5, 6, 7]") {
			m.Mask |= 1 << n.Int(0, 23)
		}
		firmware := x.Get("firmware").Text("the firmware's number in hex, \"0\" for any")
		if m.Firmware, err = strconv.ParseUint(firmware, 16, 64); err != nil {
			x.Get("firmware").Fail("want the firmware's number in hex, \"0\" for any")
		}
		p.Measurements = append(p.Measurements, m)
	}
	if err := v.Err(); err != nil {
		return attest.Policy{}, err
	}
	return attest.DecodePolicy(p.Normalize().Encode())
}

func digest(v *form.Value) (d [32]byte) {
	const want = "64 hex digits"
	b, err := hex.DecodeString(v.Text(want))
	if err != nil || len(b) != len(d) || !bytes.Equal([]byte(hex.EncodeToString(b)), []byte(v.Text(want))) {
		v.Fail("want %s, in lower case", want)
		return d
	}
	copy(d[:], b)
	return d
}
