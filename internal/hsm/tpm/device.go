package tpm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// Device is an open TPM with the keys of one vault.
type Device struct {
	conn   *conn
	device device
	parent tpm2.TPM2BName
	area   tpm2.TPMTPublic // of the parent
	keys   map[hsm.Role]key
	attest tpm2.TPM2BName
	ak     []byte // the attestation key's public area
	info   hsm.Info
	id     identity

	// asking lets one cold key's operator be asked at a time: each question keeps one
	// of the TPM's three sessions.
	asking chan struct{}

	mu     sync.Mutex // guards the fields below
	seal   map[sealID]blob
	newest uint64 // epoch
	erased uint64 // value of the erase counter: keys with a lower limit are dead
}

// key is a signing key at its handle.
type key struct {
	blob
	handle tpm2.TPMHandle
	public signature.PublicKey
}

type sealID struct {
	class hsm.Class
	epoch uint64
}

var (
	_ hsm.HSM      = (*Device)(nil)
	_ hsm.Sealer   = (*Device)(nil)
	_ hsm.Ratchet  = (*Device)(nil)
	_ hsm.Counter  = (*Device)(nil)
	_ hsm.Attester = (*Device)(nil)
)

// selfTest is what a signing key signs when it is opened. It authorises nothing.
const selfTest = "coffer/hsm-self-test/v1"

// Open opens what Provision made. What killed processes left in the TPM is flushed, a
// handle that was freed is filled again, and each key signs once.
func Open(ctx context.Context, uri string) (*Device, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "%w", err)
	}
	where := dir(u.Dir)
	if err := where.check(); err != nil {
		return nil, err
	}
	if _, err := where.read(fileDevice); err != nil {
		return nil, err
	}
	c, err := dial(u)
	if err != nil {
		return nil, err
	}
	d := &Device{conn: c, keys: make(map[hsm.Role]key), asking: make(chan struct{}, 1), seal: make(map[sealID]blob)}
	if err = c.do(ctx, "open the TPM", d.open); err == nil {
		err = d.test(ctx)
	}
	if err != nil {
		d.device.auth.Destroy()
		c.close()
		return nil, err
	}
	return d, nil
}

func (d *Device) open(t transport.TPM) error {
	c := d.conn
	if err := c.flush(t); err != nil {
		return err
	}
	m, err := newMaker(c.uri, t)
	if err != nil {
		return err
	}
	d.device = m.device
	if err := m.primaries(); err != nil {
		return err
	}
	d.parent, d.area = m.parent, m.parentArea
	for _, s := range m.signers() {
		if err := d.openSigner(m, s); err != nil {
			return err
		}
	}
	ak, err := tpm2.ReadPublic{ObjectHandle: c.uri.persistent(atAttest)}.Execute(t)
	if err != nil {
		return fmt.Errorf("couldn't read the attestation key: %w", err)
	}
	d.attest, d.ak = ak.Name, ak.OutPublic.Bytes()
	if err := d.openEpochs(m); err != nil {
		return err
	}
	if err := d.settleApprovers(t); err != nil {
		return err
	}
	if d.id, err = readIdentity(t); err != nil {
		return err
	}
	d.info = d.describe()
	return nil
}

func (d *Device) openSigner(m *maker, s signer) error {
	k, err := load(m.dir, s.file, decodeBlob)
	if err != nil {
		return err
	}
	area, err := k.area()
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "couldn't use the %v key: %w", s.role, err)
	}
	raw, err := point(area)
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "couldn't use the %v key: %w", s.role, err)
	}
	public, err := signature.ParsePublicKey(signature.P256, raw)
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "couldn't use the %v key: %w", s.role, err)
	}
	if err := m.place(s, k); err != nil {
		return err
	}
	d.keys[s.role] = key{k, m.uri.persistent(s.at), public}
	return nil
}

// test has each key that signs without approval sign once.
func (d *Device) test(ctx context.Context) error {
	var body [16]byte
	rand.Read(body[:])
	st := signature.Statement{Domain: selfTest, Body: body[:]}
	for _, role := range hsm.Roles() {
		sig, err := d.Sign(ctx, role, st, nil)
		if err != nil {
			return err
		}
		if err := signature.Verify(d.keys[role].public, st, sig); err != nil {
			return hsm.Errorf(hsm.ErrDevice, "", "the TPM's first signature as %v is wrong: %w", role, err)
		}
	}
	return nil
}

// identity is what a TPM says of itself. It says so unsigned.
type identity struct {
	manufacturer string // four letters, registered with the TCG
	model        string
	firmware     uint64
}

func readIdentity(t transport.TPM) (identity, error) {
	var id identity
	text := func(v uint32) string { return string(binary.BigEndian.AppendUint32(nil, v)) }
	for _, p := range []tpm2.TPMPT{tpm2.TPMPTManufacturer, tpm2.TPMPTVendorString1, tpm2.TPMPTVendorString2,
		tpm2.TPMPTVendorString3, tpm2.TPMPTVendorString4, tpm2.TPMPTFirmwareVersion1, tpm2.TPMPTFirmwareVersion2} {
		got, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(p), PropertyCount: 1}.Execute(t)
		if err != nil {
			return identity{}, fmt.Errorf("couldn't read the TPM's properties: %w", err)
		}
		list, err := got.CapabilityData.Data.TPMProperties()
		if err != nil || len(list.TPMProperty) != 1 || list.TPMProperty[0].Property != p {
			return identity{}, fmt.Errorf("the TPM does not state its property 0x%x: %w", uint32(p), errResponse)
		}
		v := list.TPMProperty[0].Value
		switch p {
		case tpm2.TPMPTManufacturer:
			id.manufacturer = printable(text(v))
		case tpm2.TPMPTFirmwareVersion1:
			id.firmware = uint64(v) << 32
		case tpm2.TPMPTFirmwareVersion2:
			id.firmware |= uint64(v)
		default:
			id.model += text(v)
		}
	}
	id.model = printable(id.model)
	return id, nil
}

// printable keeps a device's words from a terminal's control.
func printable(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(clean), " ")
}

// grade is what a TPM of this maker keeps, by its own word. An emulator's state is
// files: who copies them has a second TPM, who puts old ones back has old counters.
func (i identity) grade() hsm.Grade {
	if _, ok := attest.Chip(i.manufacturer); ok {
		return hsm.GradeHardware
	}
	return hsm.GradeSoftware
}

func (d *Device) describe() hsm.Info {
	grade := d.id.grade()
	vendor, ok := attest.Chip(d.id.manufacturer)
	if !ok {
		vendor = d.id.manufacturer + " (software TPM)"
	}
	i := hsm.Info{
		Vendor: vendor, Model: d.id.model, Firmware: fmt.Sprintf("%x.%x", d.id.firmware>>32, uint32(d.id.firmware)),
		Serial: fmt.Sprintf("%x", d.attest.Buffer[2:18]), Label: fmt.Sprintf("slot %d", d.conn.uri.Slot),
		Boundary: grade, Rollback: grade,
		Suites: []string{hsm.SignP256, hsm.SuiteHPKE.Named(hsm.ClassState), hsm.SuiteHPKE.Named(hsm.ClassCold),
			hsm.HasRatchet, hsm.HasCounter, hsm.HasAttest},
	}
	if i.Model == "" {
		i.Model = "TPM 2.0"
	}
	if d.device.operator != nil {
		i.PerUse = grade
		i.Suites = append(i.Suites, hsm.HasPerUse)
	}
	return i
}

// Info says what the TPM says of itself.
func (d *Device) Info() hsm.Info { return d.info }

func (d *Device) ready(ctx context.Context) error {
	if d.conn.closed.Load() {
		return hsm.Errorf(hsm.ErrUnavailable, "", "the TPM device in %s is closed", d.conn.uri.Dir)
	}
	if err := ctx.Err(); err != nil {
		return hsm.Errorf(hsm.ErrUnavailable, "", "the TPM device in %s: %w", d.conn.uri.Dir, err)
	}
	return nil
}

func (d *Device) key(ctx context.Context, role hsm.Role) (key, error) {
	if err := d.ready(ctx); err != nil {
		return key{}, err
	}
	if err := role.Check(); err != nil {
		return key{}, err
	}
	k, ok := d.keys[role]
	if !ok {
		return key{}, hsm.Errorf(hsm.ErrUnsupported, "provision a device with authority=p256:… in its URI",
			"the TPM device in %s has no %v key", d.conn.uri.Dir, role)
	}
	return k, nil
}

// Public returns the verification key of a role.
func (d *Device) Public(ctx context.Context, role hsm.Role) (signature.PublicKey, error) {
	k, err := d.key(ctx, role)
	return k.public, err
}

// PublicArea returns the TPM's public area of a role's key (TPMT_PUBLIC): what the
// Name of the approval key is the hash of.
func (d *Device) PublicArea(ctx context.Context, role hsm.Role) ([]byte, error) {
	k, err := d.key(ctx, role)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), k.blob.public...), nil
}

// Sign signs a statement. The approval key asks ap for the approvers' signatures.
func (d *Device) Sign(ctx context.Context, role hsm.Role, st signature.Statement, ap hsm.Approver) (signature.Signature, error) {
	k, err := d.key(ctx, role)
	if err != nil {
		return signature.Signature{}, err
	}
	if err := hsm.CheckStatement(st); err != nil {
		return signature.Signature{}, err
	}
	if role == hsm.RoleApproval {
		return d.signApproved(ctx, k, st, ap)
	}
	digest := st.Digest()
	var sig signature.Signature
	err = d.conn.do(ctx, "sign", func(t transport.TPM) error {
		name := k.name()
		sig, err = sign(t, auth(k.handle, name[:], d.device.auth.Reveal()), digest)
		return err
	})
	return sig, err
}

func sign(t transport.TPM, h tpm2.AuthHandle, digest [32]byte) (signature.Signature, error) {
	got, err := tpm2.Sign{KeyHandle: h, Digest: tpm2.TPM2BDigest{Buffer: digest[:]}, InScheme: schemeECDSA(), Validation: nullTicket}.Execute(t)
	if err != nil {
		return signature.Signature{}, err
	}
	return flat(got.Signature)
}

// Close ends the use of the device. The TPM is told, so that it need not count its
// next start as one after a power cut; one that is gone needs no farewell.
func (d *Device) Close() error {
	if d.conn.closed.Load() {
		return nil
	}
	_ = d.conn.do(context.Background(), "close the TPM", func(t transport.TPM) error {
		_, err := tpm2.Shutdown{ShutdownType: tpm2.TPMSUClear}.Execute(t)
		return err
	})
	err := d.conn.close() // waits for the operation under way; none begins after it
	d.device.auth.Destroy()
	return err
}
