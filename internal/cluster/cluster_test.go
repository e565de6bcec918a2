package cluster

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/wire"
)

func commands() []*Command {
	return []*Command{
		{Kind: CommandStatus},
		{Kind: CommandChange, Body: []byte("change")},
		{Kind: CommandKeygen, Attempt: [16]byte{1, 15: 2}, Body: []byte("order")},
		{Kind: CommandSign, Attempt: [16]byte{3}, Body: []byte("bundle"), Unsigned: []byte("tx"), Signers: []uint16{1, 2, 65535}, Witnesses: []uint16{3, 4}, Approvals: [][]byte{[]byte("approval"), {1}}},
		{Kind: CommandReceipt, Body: []byte("receipt")},
		{Kind: CommandAbandon, Attempt: [16]byte{4}},
	}
}

func replies() []*Reply {
	return []*Reply{
		{Vault: 1, Outcome: OutcomeDone},
		{Vault: 2, Outcome: OutcomeDone, Body: []byte("share"), Certificate: []byte("certificate")},
		{Vault: 3, Outcome: OutcomeRefused, Certificate: []byte("certificate"), Refusal: []byte("refusal")},
		{Vault: 65535, Outcome: OutcomeAborted, Class: 3, Culprits: []uint16{2, 5}, Detail: "round 2: the commitment does not open"},
		{Vault: 1, Outcome: OutcomeFailed, Detail: "the device is gone"},
	}
}

func statuses() []*Status {
	return []*Status{
		{},
		{
			Vault: 2, Name: "bank", Identity: []byte("key"), Boot: 7, Clock: 1_790_000_000_000,
			Device: DeviceStatus{
				Vendor: "SoftHSM", Model: "v2", Firmware: "2.6", Suites: "sign:p256 seal:hpke", Boundary: "software", Rollback: "none",
				PerUse: "software", Tiers: []uint8{1, 2},
			},
			Software: [32]byte{9}, Isolation: []string{"seccomp: on", "memlock: missing"}, State: StateRolledBack, Awaiting: []uint16{1, 3},
			RolledBack: &RolledBack{OwnSize: 9, HeldBoot: 7, HeldSize: 12, HeldRoot: [32]byte{8}, By: []uint16{1}},
			Cluster:    [32]byte{1}, GovernanceSeq: 3, GovernanceHead: [32]byte{2}, LogSize: 9, LogRoot: [32]byte{3},
			Peers: []PeerStatus{{1, true, true, false, false, 4, 5, [32]byte{6}, "accepted: a TPM"}, {Vault: 3, Quarantined: true, Suspended: true}},
			Keys: []KeyStatus{{
				ID: [32]byte{4}, Name: "treasury", Purpose: "ecdsa-secp256k1", PublicKey: bytes.Repeat([]byte{2}, 33),
				Threshold: 2, Parties: []uint16{1, 2, 3}, Epoch: 1, Tier: 3,
			}, {}},
			Sessions: 4,
		},
	}
}

// law demands that v survives, that nothing shorter or longer decodes, and that
// whatever one changed byte decodes to encodes to those bytes.
func law[T any](t *testing.T, v *T, encode func(*T) []byte, decode func([]byte) (*T, error)) {
	t.Helper()
	b := encode(v)
	got, err := decode(b)
	if err != nil {
		t.Fatalf("%+v: %v", v, err)
	}
	if diff := cmp.Diff(v, got); diff != "" {
		t.Fatalf("-want +got\n%s", diff)
	}
	for n := range b {
		if _, err := decode(b[:n]); err == nil {
			t.Fatalf("%T: accepted when cut to %d of %d bytes", v, n, len(b))
		}
		for _, mask := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(b)
			bad[n] ^= mask
			if got, err := decode(bad); err == nil && !bytes.Equal(encode(got), bad) {
				t.Fatalf("%T: byte %d: %x decodes to what encodes to %x", v, n, bad, encode(got))
			}
		}
	}
	if _, err := decode(append(bytes.Clone(b), 0)); err == nil {
		t.Fatalf("%T: accepted with a byte after its end", v)
	}
}

func TestCanonical(t *testing.T) {
	for _, c := range commands() {
		law(t, c, (*Command).Encode, DecodeCommand)
	}
	for _, r := range replies() {
		law(t, r, (*Reply).Encode, DecodeReply)
	}
	for _, s := range statuses() {
		law(t, s, (*Status).Encode, DecodeStatus)
	}
	law(t, &Handover{[32]byte{1}, []byte("certificate")}, (*Handover).Encode, DecodeHandover)
	for _, u := range []*Usage{{}, {Time: 5, Policy: [32]byte{1}, More: 7, Counters: []CounterUsage{
		{Limit: "daily", Wallet: [32]byte{2}, Asset: "eip155:1/slip44:60", Initiator: "ada", Destination: "eip155:1:0x1", Used: *uint256.NewInt(9), Frees: 11, Then: *uint256.NewInt(4)},
		{Limit: "money", Error: "it has no value"},
	}}} {
		law(t, u, (*Usage).Encode, DecodeUsage)
	}
}

func TestRefused(t *testing.T) {
	command := func(c *Command) error { _, err := DecodeCommand(c.Encode()); return err }
	reply := func(r *Reply) error { _, err := DecodeReply(r.Encode()); return err }
	status := func(s *Status) error { _, err := DecodeStatus(s.Encode()); return err }
	usage := func(c ...CounterUsage) error { return second(DecodeUsage((&Usage{Counters: c}).Encode())) }
	many := make([]uint16, MaxVaults+1)
	for i := range many {
		many[i] = uint16(i + 1)
	}
	long := strings.Repeat("x", 4097)
	version := func(b []byte) []byte { b[0] = 9; return b }
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"no bytes", second(DecodeCommand(nil)), "version"},
		{"command version", second(DecodeCommand(version(commands()[0].Encode()))), "version 9, want 3"},
		{"reply version", second(DecodeReply(version(replies()[0].Encode()))), "version 9, want 1"},
		{"status version", second(DecodeStatus(version(statuses()[0].Encode()))), "version 9, want 2"},
		{"kind 0", command(&Command{}), "unknown command 0, want 1 to 10"},
		{"kind 11", command(&Command{Kind: 11}), "unknown command 11"},
		{"long body", command(&Command{Kind: CommandChange, Body: make([]byte, MaxBody+1)}), "body"},
		{"long transaction", command(&Command{Kind: CommandSign, Unsigned: make([]byte, MaxUnsigned+1)}), "unsigned"},
		{"signer 0", command(&Command{Kind: CommandSign, Signers: []uint16{0, 1}}), "above 0, sorted and unique; got 0"},
		{"signers unsorted", command(&Command{Kind: CommandSign, Signers: []uint16{2, 1}}), "sorted and unique; got 1"},
		{"signer twice", command(&Command{Kind: CommandSign, Signers: []uint16{2, 2}}), "sorted and unique; got 2"},
		{"witnesses unsorted", command(&Command{Kind: CommandSign, Witnesses: []uint16{2, 1}}), "witnesses: vault ids must be above 0"},
		{"too many signers", command(&Command{Kind: CommandSign, Signers: many}), "signers: 17 items, at most 16"},
		{"oversized", second(DecodeCommand(append([]byte{1}, make([]byte, wire.MaxMessage)...))), "above the bound"},
		{"outcome 0", reply(&Reply{Vault: 1}), "unknown value 0, want 1 to 4"},
		{"outcome 5", reply(&Reply{Vault: 1, Outcome: 5}), "unknown value 5"},
		{"long certificate", reply(&Reply{Vault: 1, Outcome: OutcomeDone, Certificate: make([]byte, MaxBody+1)}), "certificate"},
		{"long refusal", reply(&Reply{Vault: 1, Outcome: OutcomeRefused, Refusal: make([]byte, 64<<10+1)}), "refusal"},
		{"culprits unsorted", reply(&Reply{Vault: 1, Outcome: OutcomeAborted, Culprits: []uint16{3, 1}}), "culprits"},
		{"long detail", reply(&Reply{Vault: 1, Outcome: OutcomeFailed, Detail: long}), "detail"},
		// A dishonest vault does not write to the operator's terminal.
		{"escape in detail", reply(&Reply{Vault: 1, Outcome: OutcomeFailed, Detail: "\x1b[2J"}), "detail: text"},
		{"escape in vendor", status(&Status{Device: DeviceStatus{Vendor: "\x1b[2J"}}), "vendor: text"},
		{"escape in firmware", status(&Status{Device: DeviceStatus{Firmware: "\x1b[2J"}}), "firmware: text"},
		{"escape in machine", status(&Status{Peers: []PeerStatus{{Vault: 1, Machine: "\x1b[2J"}}}), "machine: text"},
		{"escape in isolation", status(&Status{Isolation: []string{"\x1b[2J"}}), "isolation: text"},
		{"tiers unsorted", status(&Status{Device: DeviceStatus{Tiers: []uint8{2, 1}}}), "tiers: want them above 0, sorted and unique; got 1"},
		{"tier 0", status(&Status{Device: DeviceStatus{Tiers: []uint8{0}}}), "tiers: want them above 0"},
		{"too many tiers", status(&Status{Device: DeviceStatus{Tiers: make([]uint8, 9)}}), "tiers"},
		{"too much isolation", status(&Status{Isolation: make([]string, 33)}), "isolation: 33 items"},
		{"unknown state", status(&Status{State: 7}), "state: unknown value 7"},
		{"awaited unsorted", status(&Status{Awaiting: []uint16{2, 1}}), "awaiting"},
		{"witnesses unsorted", status(&Status{RolledBack: &RolledBack{By: []uint16{2, 1}}}), "by"},
		{"too many approvals", command(&Command{Kind: CommandSign, Approvals: make([][]byte, 17)}), "approvals: 17 items"},
		{"long approval", command(&Command{Kind: CommandSign, Approvals: [][]byte{make([]byte, 1025)}}), "approval"},
		{"two lines in a key's name", status(&Status{Keys: []KeyStatus{{Name: "a\nb"}}}), "key name: text"},
		{"too many counters", usage(make([]CounterUsage, 1025)...), "counters: 1025 items"},
		{"escape in a limit's name", usage(CounterUsage{Limit: "\x1b[2J"}), "limit: text"},
		{"escape in a destination", usage(CounterUsage{Destination: "\x1b[2J"}), "destination: text"},
		{"escape in an error", usage(CounterUsage{Error: "\x1b[2J"}), "error: text"},
		{"usage version", second(DecodeUsage(version((&Usage{}).Encode()))), "version 9, want 1"},
		{"long name", status(&Status{Name: long}), "name"},
		{"too many peers", status(&Status{Peers: make([]PeerStatus, MaxVaults+1)}), "peers: 17 items"},
		{"too many keys", status(&Status{Keys: make([]KeyStatus, 1025)}), "keys: 1025 items"},
		{"long public key", status(&Status{Keys: []KeyStatus{{PublicKey: make([]byte, 65)}}}), "public key"},
		{"parties unsorted", status(&Status{Keys: []KeyStatus{{Parties: []uint16{2, 1}}}}), "parties"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.name, c.err, c.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A count or a length that promises more than there is allocates nothing.
func TestHugeCounts(t *testing.T) {
	b := (&Command{Kind: CommandStatus}).Encode()
	for n := range len(b) - 3 {
		bad := bytes.Clone(b)
		copy(bad[n:], []byte{0xff, 0xff, 0xff, 0xff})
		if _, err := DecodeCommand(bad); err == nil && n > 14 {
			t.Errorf("a length of 2³²−1 at byte %d was accepted", n)
		}
	}
	// 54 bytes is the least that a key takes in a status.
	if got := len((&Status{Keys: []KeyStatus{{}}}).Encode()) - len((&Status{}).Encode()); got != 55 {
		t.Errorf("an empty key takes %d bytes, the decoder expects at least 55", got)
	}
	if got := len((&Status{Peers: []PeerStatus{{}}}).Encode()) - len((&Status{}).Encode()); got != 58 {
		t.Errorf("a peer takes %d bytes, the decoder expects at least 58", got)
	}
}

func TestWords(t *testing.T) {
	if got := StateAwaiting.String() + " " + State(99).String(); got != "awaiting-heads state-99" {
		t.Error(got)
	}
	if got := CommandSign.String() + " " + CommandKind(99).String(); got != "sign command-99" {
		t.Error(got)
	}
	if got := OutcomeAborted.String() + " " + Outcome(99).String(); got != "aborted outcome-99" {
		t.Error(got)
	}
}

func fuzz[T any](f *testing.F, samples []*T, encode func(*T) []byte, decode func([]byte) (*T, error)) {
	for _, s := range samples {
		f.Add(encode(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := decode(b); err == nil && !bytes.Equal(encode(v), b) {
			t.Fatalf("%x encodes to %x", b, encode(v))
		}
	})
}

func FuzzDecodeHandover(f *testing.F) {
	fuzz(f, []*Handover{{[32]byte{1}, []byte("certificate")}}, (*Handover).Encode, DecodeHandover)
}

func FuzzDecodeCommand(f *testing.F) { fuzz(f, commands(), (*Command).Encode, DecodeCommand) }
func FuzzDecodeReply(f *testing.F)   { fuzz(f, replies(), (*Reply).Encode, DecodeReply) }
func FuzzDecodeFROSTShare(f *testing.F) {
	fuzz(f, []*FROSTShare{{}, {Share: []byte("z"), Commitments: []byte("D, E")}}, (*FROSTShare).Encode, DecodeFROSTShare)
}
func FuzzDecodeStatus(f *testing.F) { fuzz(f, statuses(), (*Status).Encode, DecodeStatus) }

// The example of docs/spec/cluster.md.
func TestSpecExample(t *testing.T) {
	c := &Command{Kind: CommandAbandon, Attempt: [16]byte{4}}
	if got := fmt.Sprintf("%x", c.Encode()); got != "0306"+"04000000000000000000000000000000"+"0000000000000000000000000000000000000000" {
		t.Error(got)
	}
	r := &Reply{Vault: 1, Outcome: OutcomeDone}
	if got := fmt.Sprintf("%x", r.Encode()); got != "01000101"+"000000000000000000000000"+"000000000000000000" {
		t.Error(got)
	}
}

func TestFROSTShare(t *testing.T) {
	good := (&FROSTShare{Share: []byte("share"), Commitments: []byte("r0")}).Encode()
	if want := "01" + "00000005" + "7368617265" + "00000002" + "7230"; hex.EncodeToString(good) != want {
		t.Errorf("encoding %x, want %s", good, want)
	}
	for n := range good {
		if _, err := DecodeFROSTShare(good[:n]); err == nil {
			t.Errorf("cut to %d bytes it decodes", n)
		}
	}
	for name, b := range map[string][]byte{
		"longer": append(bytes.Clone(good), 0), "long share": (&FROSTShare{Share: make([]byte, 1<<16+1)}).Encode(), "long R0": (&FROSTShare{Commitments: make([]byte, 1<<17+1)}).Encode(),
	} {
		if _, err := DecodeFROSTShare(b); err == nil {
			t.Errorf("%s: it decodes", name)
		}
	}
}
