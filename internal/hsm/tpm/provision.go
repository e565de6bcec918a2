package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// Provision makes the directory and all keys and counters that are missing. It never
// replaces one; after a crash it makes the rest. Handles of the slot that hold anything
// else are somebody else's, and are left alone.
func Provision(ctx context.Context, uri string) error {
	u, err := ParseURI(uri)
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "%w", err)
	}
	if err := os.MkdirAll(u.Dir, 0o700); err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "couldn't make the TPM device's directory: %w", err)
	}
	if err := dir(u.Dir).check(); err != nil {
		return err
	}
	c, err := dial(u)
	if err != nil {
		return err
	}
	defer c.close()
	return c.do(ctx, "provision the TPM", func(t transport.TPM) error {
		if err := c.flush(t); err != nil {
			return err
		}
		m, err := newMaker(u, t)
		if err != nil {
			return err
		}
		defer m.device.auth.Destroy()
		return m.make()
	})
}

// maker makes the keys and counters of one device.
type maker struct {
	uri    URI
	dir    dir
	device device
	t      transport.TPM

	owner, endorsement []byte
	parent, attest     tpm2.TPM2BName
	parentArea         tpm2.TPMTPublic
}

func newMaker(u URI, t transport.TPM) (*maker, error) {
	m := &maker{uri: u, dir: dir(u.Dir), t: t}
	there, err := m.dir.has(fileDevice)
	if err != nil {
		return nil, err
	}
	if !there {
		d, err := newDevice(u)
		if err != nil {
			return nil, err
		}
		if err := m.dir.write(fileDevice, d.encode()); err != nil {
			return nil, err
		}
		d.auth.Destroy()
	}
	if m.device, err = load(m.dir, fileDevice, decodeDevice); err != nil {
		return nil, err
	}
	if err := m.device.matches(u); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		path string
		to   *[]byte
	}{{u.OwnerAuth, &m.owner}, {u.EndorsementAuth, &m.endorsement}} {
		if *f.to, err = readAuth(f.path); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// matches refuses a URI that names other people than the device was provisioned with.
func (d device) matches(u URI) error {
	for _, k := range []struct {
		name       string
		have, want *signature.PublicKey
	}{{"operator", d.operator, u.Operator}, {"authority", d.authority, u.Authority}} {
		if k.want == nil || k.have != nil && *k.have == *k.want {
			continue
		}
		have := "none"
		if k.have != nil {
			have = k.have.String()
		}
		return hsm.Errorf(hsm.ErrConfig, "provision a new device (another dir and slot) for another "+k.name,
			"the TPM device in %s was provisioned with %s %s, the URI names %v", u.Dir, k.name, have, *k.want)
	}
	return nil
}

func readAuth(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't read the hierarchy's password: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Mode().Perm()&0o077 != 0 || fi.Size() > 64 {
		return nil, hsm.Errorf(hsm.ErrConfig, "chmod 600 "+path, "password file %s: want a regular file of mode 0600 with at most 64 bytes", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't read the hierarchy's password: %w", err)
	}
	return []byte(strings.TrimRight(string(b), "\r\n")), nil
}

func (m *maker) make() error {
	if err := m.primaries(); err != nil {
		return err
	}
	for _, n := range []uint32{nvCounter, nvErase, nvGeneration} {
		if err := m.counter(m.uri.index(n)); err != nil {
			return err
		}
	}
	if _, err := m.base(); err != nil {
		return err
	}
	for _, k := range m.signers() {
		if err := m.signer(k); err != nil {
			return err
		}
	}
	_, newest, err := m.dir.epochs()
	if err != nil || newest > 0 {
		return err
	}
	return m.epoch(1)
}

// primaries makes the parent and the attestation key, which come out the same each time.
func (m *maker) primaries() error {
	for _, p := range []struct {
		what      string
		hierarchy tpm2.TPMHandle
		password  []byte
		auth      []byte
		template  tpm2.TPMTPublic
		at        uint32
		name      *tpm2.TPM2BName
	}{
		{"storage key", tpm2.TPMRHOwner, m.owner, m.device.auth.Reveal(), parentTemplate(m.device.id), atParent, &m.parent},
		{"attestation key", tpm2.TPMRHEndorsement, m.endorsement, m.device.auth.Reveal(), attestTemplate(m.device.id), atAttest, &m.attest},
	} {
		got, err := tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: p.hierarchy, Auth: tpm2.PasswordAuth(p.password)},
			InSensitive:   tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: p.auth}}},
			InPublic:      tpm2.New2B(p.template),
		}.Execute(m.t)
		if err != nil {
			return fmt.Errorf("couldn't make the %s: %w", p.what, err)
		}
		*p.name = got.Name
		if p.at == atParent {
			area, err := got.OutPublic.Contents()
			if err != nil {
				return fmt.Errorf("%s: %w: %w", p.what, errResponse, err)
			}
			m.parentArea = *area
		}
		if err := flushed(m.t, got.ObjectHandle, func() error {
			if err := m.sameTPM(p.what, p.at, got.Name); err != nil {
				return err
			}
			return m.persist(p.what, got.ObjectHandle, got.Name, m.uri.persistent(p.at))
		}); err != nil {
			return err
		}
	}
	return nil
}

// sameTPM refuses another TPM than the directory's before anything is put into it.
func (m *maker) sameTPM(what string, at uint32, name tpm2.TPM2BName) error {
	there, err := m.dir.has(fileBase)
	if err != nil || !there {
		return err
	}
	b, err := load(m.dir, fileBase, decodeBase)
	if err != nil {
		return err
	}
	want := b.parent
	if at == atAttest {
		want = b.attest
	}
	if len(name.Buffer) != attest.NameSize || attest.Name(name.Buffer) != want {
		return hsm.Errorf(hsm.ErrConfig, "use the TPM that the directory was provisioned on; if it was cleared, its keys are gone: provision a new device",
			"%s was provisioned on another TPM, or this one was cleared since: its %s comes out as %x, want %v", m.uri.Dir, what, name.Buffer, want)
	}
	return nil
}

// persist puts a loaded key at a handle, unless it is there. What else is there stays.
func (m *maker) persist(what string, h tpm2.TPMHandle, name tpm2.TPM2BName, at tpm2.TPMHandle) error {
	got, err := tpm2.ReadPublic{ObjectHandle: at}.Execute(m.t)
	if err == nil && string(got.Name.Buffer) == string(name.Buffer) {
		return nil
	}
	if err == nil {
		return hsm.Errorf(hsm.ErrConfig, "give another slot in the URI, or free the handle as its owner (tpm2_evictcontrol)",
			"slot %d of the TPM is taken: another key is at handle 0x%08x, where the %s of %s belongs", m.uri.Slot, uint32(at), what, m.uri.Dir)
	}
	if !missing(err) {
		return fmt.Errorf("couldn't look at handle 0x%08x: %w", uint32(at), err)
	}
	_, err = tpm2.EvictControl{
		Auth:             tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(m.owner)},
		ObjectHandle:     &tpm2.NamedHandle{Handle: h, Name: name},
		PersistentHandle: at,
	}.Execute(m.t)
	if err != nil {
		return fmt.Errorf("couldn't keep the %s at handle 0x%08x: %w", what, uint32(at), err)
	}
	return nil
}

// counter defines an NV counter and writes it once, unless it is there.
func (m *maker) counter(index uint32) error {
	area := attest.CounterArea(index)
	h := tpm2.TPMHandle(index)
	got, err := tpm2.NVReadPublic{NVIndex: h}.Execute(m.t)
	if missing(err) {
		public := tpm2.TPMSNVPublic{NVIndex: h, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8,
			Attributes: tpm2.TPMANV{NT: tpm2.TPMNTCounter, AuthWrite: true, AuthRead: true, NoDA: true}}
		_, err = tpm2.NVDefineSpace{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(m.owner)},
			Auth:       tpm2.TPM2BAuth{Buffer: m.device.auth.Reveal()},
			PublicInfo: tpm2.New2B(public),
		}.Execute(m.t)
		if err != nil {
			return fmt.Errorf("couldn't define counter 0x%08x: %w", index, err)
		}
		got, err = tpm2.NVReadPublic{NVIndex: h}.Execute(m.t)
	}
	if err != nil {
		return fmt.Errorf("couldn't look at counter 0x%08x: %w", index, err)
	}
	if want := attest.NameOf(area); string(got.NVName.Buffer) == string(want[:]) {
		_, err := readCounter(m.t, index, m.device.auth.Reveal())
		return m.taken(err, index)
	}
	// Not written yet: its first increment changes its attributes, and so its name.
	err = increment(m.t, index, got.NVName, m.device.auth.Reveal())
	if err == nil {
		_, err = readCounter(m.t, index, m.device.auth.Reveal())
	}
	return m.taken(err, index)
}

// taken explains a counter that isn't ours.
func (m *maker) taken(err error, index uint32) error {
	var rc tpm2.TPMRC
	if !errors.As(err, &rc) {
		return err
	}
	return hsm.Errorf(hsm.ErrConfig, "give another slot in the URI, or free the index as its owner (tpm2_nvundefine)",
		"slot %d of the TPM is taken: NV index 0x%08x does not take the authorisation of %s: %w", m.uri.Slot, index, m.uri.Dir, err)
}

// base returns what is fixed when the counters are made, and fixes it the first time.
func (m *maker) base() (base, error) {
	there, err := m.dir.has(fileBase)
	if err != nil {
		return base{}, err
	}
	if !there {
		now, err := readCounter(m.t, m.uri.index(nvErase), m.device.auth.Reveal())
		if err != nil {
			return base{}, err
		}
		if err := m.dir.write(fileBase, base{attest.Name(m.parent.Buffer), attest.Name(m.attest.Buffer), now}.encode()); err != nil {
			return base{}, err
		}
	}
	return load(m.dir, fileBase, decodeBase)
}

// signer is a signing key: its file, its handle, its template.
type signer struct {
	role     hsm.Role
	file     string
	at       uint32
	template tpm2.TPMTPublic
}

func (m *maker) signers() []signer {
	list := []signer{
		{hsm.RoleIdentity, fileIdentity, atIdentity, signTemplate()},
		{hsm.RoleDecision, fileDecision, atDecision, signTemplate()},
	}
	if m.device.authority != nil {
		_, policy, err := attest.ApprovalArea(*m.device.authority)
		if err == nil { // device's decoder let P-256 keys through only
			list = append(list, signer{hsm.RoleApproval, fileApproval, atApproval, approvalTemplate(policy)})
		}
	}
	return list
}

func (m *maker) signer(s signer) error {
	there, err := m.dir.has(s.file)
	if err != nil {
		return err
	}
	if !there {
		if err := m.create(s.file, s.template, 0); err != nil {
			return err
		}
	}
	k, err := load(m.dir, s.file, decodeBlob)
	if err != nil {
		return err
	}
	return m.place(s, k)
}

// place loads a signing key's blob and puts it at its handle, unless it is there.
func (m *maker) place(s signer, k blob) error {
	name := k.name()
	got, err := tpm2.ReadPublic{ObjectHandle: m.uri.persistent(s.at)}.Execute(m.t)
	if err == nil && string(got.Name.Buffer) == string(name[:]) {
		return nil
	}
	if err != nil && !missing(err) {
		return fmt.Errorf("couldn't look at the %v key: %w", s.role, err)
	}
	return loaded(m.t, m.uri, m.parent, m.device, k, func(h tpm2.NamedHandle) error {
		return m.persist(s.role.String()+" key", h.Handle, h.Name, m.uri.persistent(s.at))
	})
}

// create makes a key under the parent and keeps its blob.
func (m *maker) create(file string, template tpm2.TPMTPublic, limit uint64) error {
	got, err := tpm2.Create{
		ParentHandle: auth(m.uri.persistent(atParent), m.parent.Buffer, m.device.auth.Reveal()),
		InSensitive:  tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: m.device.auth.Reveal()}}},
		InPublic:     tpm2.New2B(template),
	}.Execute(m.t)
	if err != nil {
		return fmt.Errorf("couldn't make key %s: %w", file, err)
	}
	k := blob{public: got.OutPublic.Bytes(), private: got.OutPrivate.Buffer, hash: got.CreationHash.Buffer, ticket: got.CreationTicket, limit: limit}
	return m.dir.write(file, k.encode())
}

// loaded runs f with a key loaded from its blob.
func loaded(t transport.TPM, u URI, parent tpm2.TPM2BName, d device, k blob, f func(h tpm2.NamedHandle) error) error {
	got, err := tpm2.Load{
		ParentHandle: auth(u.persistent(atParent), parent.Buffer, d.auth.Reveal()),
		InPrivate:    tpm2.TPM2BPrivate{Buffer: k.private},
		InPublic:     tpm2.BytesAs2B[tpm2.TPMTPublic](k.public),
	}.Execute(t)
	if err != nil {
		return fmt.Errorf("couldn't load a key: %w", err)
	}
	return flushed(t, got.ObjectHandle, func() error {
		return f(tpm2.NamedHandle{Handle: got.ObjectHandle, Name: got.Name})
	})
}

// epoch makes the seal keys of an epoch: cold first, so that an epoch with a state key
// is whole.
func (m *maker) epoch(n uint64) error {
	b, err := m.base()
	if err != nil {
		return err
	}
	limit := b.erase + n - 1
	index := attest.NameOf(attest.CounterArea(m.uri.index(nvErase)))
	for _, k := range []struct {
		class    hsm.Class
		operator *signature.PublicKey
	}{{hsm.ClassCold, m.device.operator}, {hsm.ClassState, nil}} {
		file := sealFile(k.class, n)
		there, err := m.dir.has(file)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		policy, err := attest.EpochPolicy(index, limit, k.operator)
		if err != nil {
			return hsm.Errorf(hsm.ErrConfig, "", "couldn't make a seal key: %w", err)
		}
		if err := m.create(file, sealTemplate(policy), limit); err != nil {
			return err
		}
	}
	return nil
}

// operand is a counter's value as PolicyNV compares it.
func operand(v uint64) tpm2.TPM2BOperand {
	return tpm2.TPM2BOperand{Buffer: binary.BigEndian.AppendUint64(nil, v)}
}
