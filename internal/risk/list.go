package risk

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/wire"
)

// ListConfig is a file of known bad accounts that somebody signed.
type ListConfig struct {
	File string `toml:"file"`
	Key  string `toml:"key"` // the publisher's verifier key, as C2SP signed notes have it: NAME+HASH+BASE64
}

// List is the content of a signed file:
//
//	coffer/risk-list/v1
//	issued 2026-11-22T00:00:00Z
//	expires 2026-12-22T00:00:00Z
//	eip155:1:0x… why
//
// The signature is that of a C2SP signed note.
type List struct {
	Issued, Expires time.Time
	Accounts        map[string]string // CAIP-10, and why
}

const (
	listHeader   = "coffer/risk-list/v1"
	maxListBytes = 32 << 20
	maxListAhead = 10 * time.Minute // by which publishers' clocks may differ
)

// ParseList reads a list's text, without its signature.
func ParseList(text string) (*List, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] != listHeader || lines[len(lines)-1] != "" {
		return nil, fmt.Errorf("want the line %q first, then issued, expires and a line for each account, each with its end", listHeader)
	}
	l := &List{Accounts: map[string]string{}}
	for i, f := range []struct {
		name string
		time *time.Time
	}{{"issued", &l.Issued}, {"expires", &l.Expires}} {
		value, ok := strings.CutPrefix(lines[1+i], f.name+" ")
		t, err := time.Parse(time.RFC3339, value)
		if !ok || err != nil {
			return nil, fmt.Errorf("line %d is %.80q: want %s and a time like 2026-11-22T00:00:00Z", 2+i, lines[1+i], f.name)
		}
		*f.time = t
	}
	if !l.Expires.After(l.Issued) {
		return nil, errors.New("it expires before it is issued")
	}
	for i, line := range lines[3 : len(lines)-1] {
		account, why, _ := strings.Cut(line, " ")
		if err := family.CheckAccount(account); err != nil {
			return nil, fmt.Errorf("line %d: %w", 4+i, err)
		}
		if _, twice := l.Accounts[account]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", 4+i, account)
		}
		l.Accounts[account] = wire.CleanText(why, 120)
	}
	return l, nil
}

// lists are the signed files, read again when they change on disk. A list that
// cannot be read, is not signed, has expired or is older than one that was there
// before means that there is no verdict: whoever can spoil the file must not be
// able to clear an account.
type lists struct {
	mu    sync.Mutex
	files []*listFile
}

type listFile struct {
	cfg      ListConfig
	verifier note.Verifier
	size     int64
	changed  time.Time
	list     *List
	bad      map[string]string // why, by the account wherever it is
	newest   time.Time         // of all that were read
}

func newLists(configs []ListConfig) (*lists, error) {
	out := new(lists)
	for i, c := range configs {
		v, err := note.NewVerifier(c.Key)
		if err != nil {
			return nil, fmt.Errorf("lists[%d].key: %w; want the publisher's verifier key, NAME+HASH+BASE64", i, err)
		}
		out.files = append(out.files, &listFile{cfg: c, verifier: v})
	}
	return out, nil
}

// anywhere names an account without its chain: who has an address on one chain of a
// family has it on all of them.
func anywhere(account string) string {
	family, address := split(account)
	return family + ":" + address
}

// find says why accounts are bad. One list that names an account is enough.
func (ls *lists) find(accounts []string, now time.Time) (bad map[string]string, err error) {
	if ls == nil {
		return nil, nil
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	bad = map[string]string{}
	for _, f := range ls.files {
		if err := f.refresh(now); err != nil {
			return nil, fmt.Errorf("list %s: %w", f.cfg.File, err)
		}
		for _, a := range accounts {
			if why, ok := f.bad[anywhere(a)]; ok {
				bad[a] = f.verifier.Name() + ": " + why
			}
		}
	}
	return bad, nil
}

func (f *listFile) refresh(now time.Time) error {
	info, err := os.Stat(f.cfg.File)
	if err != nil {
		return err
	}
	if f.list == nil || info.Size() != f.size || !info.ModTime().Equal(f.changed) {
		if info.Size() > maxListBytes {
			return fmt.Errorf("%d bytes, at most %d", info.Size(), maxListBytes)
		}
		b, err := os.ReadFile(f.cfg.File)
		if err != nil {
			return err
		}
		n, err := note.Open(b, note.VerifierList(f.verifier))
		if err != nil {
			return fmt.Errorf("not signed by %s: %w", f.verifier.Name(), err)
		}
		l, err := ParseList(n.Text)
		if err != nil {
			return err
		}
		if l.Issued.Before(f.newest) {
			return fmt.Errorf("it was issued %s, and one of %s was here already: an older one was put back", l.Issued.Format(time.RFC3339), f.newest.Format(time.RFC3339))
		}
		f.list, f.newest, f.size, f.changed = l, l.Issued, info.Size(), info.ModTime()
		f.bad = make(map[string]string, len(l.Accounts))
		for a, why := range l.Accounts {
			f.bad[anywhere(a)] = why
		}
	}
	if f.list.Issued.Sub(now) > maxListAhead {
		return fmt.Errorf("it was issued %s, which is to come: is this machine's clock right?", f.list.Issued.Format(time.RFC3339))
	}
	if !now.Before(f.list.Expires) {
		return fmt.Errorf("it expired %s: get the publisher's newest", f.list.Expires.Format(time.RFC3339))
	}
	return nil
}
