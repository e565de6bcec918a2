package vault_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
	"github.com/cofferhq/coffer/internal/hsm/tpm"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// machines is a cluster in which each vault's device is a TPM: an emulator of its own.
type machines struct {
	*fixture
	tpm map[mpc.ID]*tpm.Device
}

func startMachines(t *testing.T) *machines {
	t.Helper()
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	if _, _, err := swtpm.Find(); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	m := &machines{tpm: map[mpc.ID]*tpm.Device{}}
	const seed = 99
	w, err := sim.New(seed, 3, sim.Roster(seed), sim.Policy(), func(p *sim.Party) error {
		d, err := emulated(t)
		p.Device.HSM, m.tpm[p.ID] = d, d
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.Keygen("treasury", 2)
	if err != nil {
		t.Fatal(err)
	}
	m.fixture = &fixture{T: t, World: w, x: x}
	return m
}

func emulated(t *testing.T) (*tpm.Device, error) {
	dir, err := os.MkdirTemp("", "va") // short, for the socket's sake
	if err != nil {
		return nil, err
	}
	s, err := swtpm.Start(t.Context(), dir)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Stop(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	uri := s.URI(filepath.Join(dir, "keys"))
	if err := tpm.Provision(t.Context(), uri); err != nil {
		return nil, err
	}
	d, err := tpm.Open(t.Context(), uri)
	if err == nil {
		t.Cleanup(func() { _ = d.Close() })
	}
	return d, err
}

// state is what a vault's TPM has measured.
func (m *machines) state(id mpc.ID) attest.Measurement {
	m.Helper()
	w := attest.Want{Identity: m.Genesis.Enrolments[id-1].Vault.Identity, Decision: m.Genesis.Enrolments[id-1].Vault.Decision}
	e, err := m.tpm[id].Attest(m.Context(), w.Nonce, w.Bind)
	m.ok(err)
	r, err := attest.Verify(e.Kind, e.Bytes, w)
	m.ok(err)
	return r.Measurement("as delivered")
}

// demand brings a policy into force, and gives the vaults time to go by it.
func (m *machines) demand(p attest.Policy) {
	m.Helper()
	_, err := m.Publish(governance.KindMeasurements, p.Normalize().Encode())
	m.ok(err)
	for _, id := range m.IDs {
		m.ok(m.CatchUp(id))
	}
	m.ok(m.Settle())
	m.wait()
}

func (m *machines) wait() {
	m.Helper()
	for range 3 {
		m.ok(m.Tick(1000))
		m.ok(m.Settle())
	}
}

// again restarts a vault: its channels are new.
func (m *machines) again(id mpc.ID) {
	m.Helper()
	m.Crash(id)
	m.ok(m.Restart(id))
	m.ok(m.Settle())
	m.wait()
}

// machine is what a vault's status says of a peer's machine.
func (m *machines) machine(id, peer mpc.ID) (text string, connected bool) {
	m.Helper()
	n := m.command(id, &cluster.Command{Kind: cluster.CommandStatus})
	st, err := cluster.DecodeStatus(m.Replies[n].Body)
	m.ok(err)
	for _, p := range st.Peers {
		if p.Vault == uint16(peer) {
			return p.Machine, p.Connected
		}
	}
	m.Fatalf("vault %d says nothing of vault %d", id, peer)
	return "", false
}

// noRounds demands that vault 1 begins nothing with vault 2, takes no round of it, and
// says why in its answer, its status and a note.
func (m *machines) noRounds(name string, words ...string) {
	m.Helper()
	before := m.Parties[1].Vault.LedgerSeq(1)
	m.nonce++
	c := m.signCommand(m.Transfer(m.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 5000+m.nonce), 1, 2)
	one := m.command(1, c)
	two := m.command(2, c)
	m.ok(m.Settle())
	r := m.Replies[one]
	text, connected := m.machine(1, 2)
	for _, w := range words {
		if r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Benign) || !strings.Contains(r.Detail, w) {
			m.Errorf("%s: vault 1 says %s, want %q", name, show(r), w)
		}
		if !strings.Contains(text, w) || !strings.HasPrefix(text, "refused: ") || connected {
			m.Errorf("%s: status %q, connected %v, want %q", name, text, connected, w)
		}
		if !strings.Contains(strings.Join(m.Parties[1].Notes, "\n"), w) {
			m.Errorf("%s: no note says %q", name, w)
		}
	}
	if n := m.Parties[1].Vault.LedgerSeq(1); n != before {
		m.Errorf("%s: vault 1 reserved something", name)
	}
	for _, kind := range []uint8{vault.InnerSign, vault.InnerKeygen} {
		m.frame(2, 1, kind, [16]byte{9, kind}, 0, []byte("x"), nil)
	}
	if n := m.Parties[1].Vault.EarlyCount(); n != 0 {
		m.Errorf("%s: vault 1 keeps %d frames of rounds", name, n)
	}
	if r := m.Replies[two]; r != nil && r.Outcome == cluster.OutcomeDone {
		m.Errorf("%s: vault 2 gave a share", name)
	}
	m.command(2, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	m.ok(m.Settle())
}

// With TPMs (emulated ones): a channel is good for rounds once the peer's device has
// shown what the admins accept, at every connection, and as long as they accept it.
func TestAttestedChannels(t *testing.T) {
	m := startMachines(t)
	if text, _ := m.machine(1, 2); text != "" {
		t.Errorf("nobody asks, and status says %q", text)
	}
	m.works(1, 2)
	good := attest.Policy{Emulators: true, Measurements: []attest.Measurement{m.state(1)}}
	m.demand(good)
	for _, id := range m.IDs {
		for _, peer := range m.IDs {
			if id == peer {
				continue
			}
			if text, connected := m.machine(id, peer); !strings.HasPrefix(text, "accepted: emulated TPM IBM") || !connected {
				t.Errorf("vault %d says %q of vault %d", id, text, peer)
			}
		}
	}
	m.works(1, 2)
	m.works(2, 3)
	m.again(2)
	m.works(1, 2)

	// The demand changes: what was shown is judged anew, on the same channels.
	other := good.Measurements[0]
	other.Name, other.Digest[0] = "the next release", other.Digest[0]^1
	m.demand(attest.Policy{Emulators: true, Measurements: []attest.Measurement{other}})
	m.noRounds("another state", "none of the 1 accepted states", "measured: emulated TPM IBM", `accepted: "the next release"`)
	m.demand(attest.Policy{Measurements: good.Measurements})
	m.noRounds("no emulators", "the policy accepts no emulators", "no emulators")
	m.demand(attest.Policy{})
	m.works(1, 2)
	m.demand(attest.Policy{Emulators: true, Measurements: []attest.Measurement{other, good.Measurements[0]}})
	m.works(1, 2)
	m.blameless()
}

// What is no evidence of this peer's device for this connection opens no channel for
// rounds: stale, of another channel, foreign, tampered, none at all.
func TestForgedEvidence(t *testing.T) {
	m := startMachines(t)
	good := attest.Policy{Emulators: true, Measurements: []attest.Measurement{m.state(1)}}
	m.demand(good)
	m.works(1, 2)
	of := func(id mpc.ID, nonce, bind [32]byte) []byte {
		e, err := m.tpm[id].Attest(t.Context(), nonce, bind)
		m.ok(err)
		return e.Encode()
	}
	var old []byte
	m.Parties[2].Device.Attester = func(nonce, bind [32]byte) ([]byte, error) {
		old = of(2, nonce, bind)
		return old, nil
	}
	m.again(2)
	m.works(1, 2)
	for name, c := range map[string]struct {
		forge func(nonce, bind [32]byte) ([]byte, error)
		want  string
	}{
		"stale": {func([32]byte, [32]byte) ([]byte, error) { return old, nil }, "not for this connection"},
		"another nonce": {func(nonce, bind [32]byte) ([]byte, error) {
			nonce[0] ^= 1
			return of(2, nonce, bind), nil
		}, "not for this connection"},
		"another channel": {func(nonce, bind [32]byte) ([]byte, error) {
			bind[0] ^= 1
			return of(2, nonce, bind), nil
		}, "not for this connection"},
		"foreign": {func(nonce, bind [32]byte) ([]byte, error) { return of(3, nonce, bind), nil }, "of another device"},
		"tampered": {func(nonce, bind [32]byte) ([]byte, error) {
			b := of(2, nonce, bind)
			b[len(b)-100] ^= 1
			return b, nil
		}, "evidence"},
		"garbage": {func([32]byte, [32]byte) ([]byte, error) { return []byte("x"), nil }, "couldn't decode evidence"},
		"none": {func([32]byte, [32]byte) ([]byte, error) {
			return nil, hsm.Errorf(hsm.ErrUnsupported, "", "this device gives no evidence of what it is")
		}, "gives no evidence of what it is"},
	} {
		m.Parties[2].Device.Attester = c.forge
		m.again(2)
		m.noRounds(name, c.want, `accepted: "as delivered"`)
		m.works(1, 3)
	}
	// It is made good by evidence alone, without a new connection.
	m.Parties[2].Device.Attester = nil
	m.ok(m.Tick(31_000))
	m.wait()
	m.works(1, 2)
	m.blameless()
}

// A peer can neither make this vault's device work without end nor answer what was
// not asked.
func TestAttestationIsPaced(t *testing.T) {
	f := startQuick(t)
	asked := 0
	f.Parties[1].Device.Attester = func([32]byte, [32]byte) ([]byte, error) { asked++; return []byte("e"), nil }
	for i := range 200 {
		f.frame(2, 1, vault.InnerAttest, [16]byte{}, 0, nil, append(make([]byte, 31), byte(i)))
		f.ok(f.Settle())
	}
	f.frame(2, 1, vault.InnerAttest, [16]byte{}, 0, nil, make([]byte, 31))
	f.frame(2, 1, vault.InnerAttest, [16]byte{}, 1, nil, make([]byte, 100))
	f.frame(2, 1, vault.InnerAttest, [16]byte{}, 2, nil, nil)
	f.ok(f.Settle())
	if asked == 0 || asked > 10 {
		t.Errorf("the device gave evidence %d times at once", asked)
	}
	f.works(1, 2)
	f.blameless()
}
