package client

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/governance"
)

func root(b byte) string {
	return strings.Repeat(string("0123456789abcdef"[b>>4])+string("0123456789abcdef"[b&15]), 32)
}

// reports is a cluster in which vault 2 was rolled back: its own log has 9 entries,
// vault 1 holds a head of 12 and vault 3 one of 11.
func reports() []Vault {
	held := func(boot, size uint64, b byte) []Peer {
		return []Peer{{Vault: 9, HeldBoot: 50, HeldSize: 99, HeldRoot: root(9)}, {Vault: 2, HeldBoot: boot, HeldSize: size, HeldRoot: root(b)}}
	}
	return []Vault{
		{Card: Card{ID: 1, Name: "north"}, Reachable: true, State: "running", Peers: held(4, 12, 0x12)},
		{
			Card: Card{ID: 2, Name: "south"}, Reachable: true, State: "rolled-back", Boot: 3, LogSize: 9, LogRoot: root(0x99),
			RolledBack: &RolledBack{OwnSize: 8, HeldBoot: 4, HeldSize: 11, HeldRoot: root(0x11), By: []int{3}},
		},
		{Card: Card{ID: 3, Name: "west"}, Reachable: true, State: "running", Peers: held(4, 11, 0x11)},
	}
}

func info() *Cluster {
	return &Cluster{ID: root(0xcc), Governance: Governance{Seq: 6, Head: root(0xdd)}}
}

// A resume gives up the newest head that anybody holds, from where the vault is, and
// only starts that nobody has seen count from then on.
func TestNewResume(t *testing.T) {
	d, err := NewResume(info(), reports(), 2, "ada", "restored from a backup")
	if err != nil {
		t.Fatal(err)
	}
	o, err := governance.DecodeVaultOrder(d.change.Body)
	if err != nil {
		t.Fatal(err)
	}
	if o.Action != governance.ResumeVault || o.Vault != 2 || o.Boot != 4+governance.BootMargin || o.From.Size != 9 || o.From.Root[0] != 0x99 || o.Held.Size != 12 || o.Held.Root[0] != 0x12 {
		t.Errorf("%s", d.Document)
	}
	if d.Kind != "vault" || d.Seq != 7 || d.Note != "restored from a backup" || !strings.Contains(string(d.Document), `"reason": "restored from a backup"`) {
		t.Errorf("%+v", d)
	}
	// Its device's counter found it out, and nobody has seen more.
	counted := reports()
	counted[0].Peers, counted[1].RolledBack, counted[2].Peers = nil, &RolledBack{OwnSize: 9}, nil
	if d, err = NewResume(info(), counted, 2, "ada", "x"); err != nil || strings.Count(string(d.Document), `"size": 9`) != 2 {
		t.Errorf("%v", err)
	}
	// The vault's own word alone does as well: its peers may be down.
	alone := reports()
	alone[0].Peers, alone[2].Peers = nil, nil
	if d, err = NewResume(info(), alone, 2, "ada", "x"); err != nil || !strings.Contains(string(d.Document), `"size": 11`) {
		t.Errorf("%v", err)
	}
	for name, c := range map[string]struct {
		want string
		edit func([]Vault)
		id   int
	}{
		"running":     {"does not say that it was rolled back, or waits for the others: it is running", func(v []Vault) { v[1].State = "running" }, 2},
		"unreachable": {"vault 2 does not answer", func(v []Vault) { v[1].Reachable = false }, 2},
		"no vault":    {"there is no vault 7", func([]Vault) {}, 7},
		"bad root":    {"held root", func(v []Vault) { v[0].Peers[1].HeldRoot = "xy" }, 2},
		"bad root, 2": {"held root", func(v []Vault) { v[0].Peers, v[1].RolledBack.HeldRoot = nil, "" }, 2},
		"bad own":     {"log root", func(v []Vault) { v[1].LogRoot = "00" }, 2},
	} {
		v := reports()
		c.edit(v)
		if _, err := NewResume(info(), v, c.id, "ada", "x"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestNewLiftSuspendReplace(t *testing.T) {
	for want, draft := range map[string]func() (*DecodedChange, error){
		`"action": "lift"`:    func() (*DecodedChange, error) { return NewLift(info(), 2, 3, "ada", "x") },
		`"action": "suspend"`: func() (*DecodedChange, error) { return NewSuspend(info(), 2, "ada", "x") },
	} {
		d, err := draft()
		if err != nil || !strings.Contains(string(d.Document), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := NewReplace(info(), reports(), 2, []byte{1, 2}, "ada", "x"); err == nil || !strings.Contains(err.Error(), "couldn't decode enrolment") {
		t.Error(err)
	}
}
