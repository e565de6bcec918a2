package governance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
)

// Labelled is an address with a label of the address book.
type Labelled struct {
	Label   string `json:"label"`
	Address string `json:"address"` // CAIP-10
}

// Book is the body of a change of kind book: what enters the address book and what
// leaves it. Both are sorted, and nothing is in both.
type Book struct {
	Add    []Labelled `json:"add"`
	Remove []Labelled `json:"remove"`
}

const (
	bookVersion = 1
	// MaxBook bounds the additions, and the removals, of one change.
	MaxBook    = 1024
	maxAddress = 256
)

// Encode is the canonical encoding.
func (b *Book) Encode() []byte {
	w := wire.NewWriter(bookVersion)
	for _, list := range [][]Labelled{b.Add, b.Remove} {
		w.Count(len(list))
		for _, l := range list {
			w.String(l.Label).String(l.Address)
		}
	}
	return w.Bytes()
}

// DecodeBook is the inverse of Encode.
func DecodeBook(enc []byte) (*Book, error) {
	r := wire.NewReader(enc, bookVersion)
	b := new(Book)
	b.Add = readLabelled(r, "add")
	b.Remove = readLabelled(r, "remove")
	for _, l := range b.Remove {
		if r.Err() == nil && slices.Contains(b.Add, l) {
			r.Failf("remove: %s is added to %s, too", l.Address, l.Label)
		}
	}
	if r.Err() == nil && len(b.Add)+len(b.Remove) == 0 {
		r.Failf("add, remove: both are empty, so that nothing would change")
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode address book change: %w", err)
	}
	return b, nil
}

func readLabelled(r *wire.Reader, field string) (list []Labelled) {
	for range r.Count(field, MaxBook, 8) {
		l := Labelled{Label: r.Name(field + " label"), Address: r.Text(field+" address", maxAddress)}
		if r.Err() != nil {
			break
		}
		if _, _, err := chain.ParseAccount(l.Address); err != nil {
			r.Failf("%s: %v", field, err)
		}
		if n := len(list); n > 0 && compareLabelled(list[n-1], l) >= 0 {
			r.Failf("%s: %s comes after %s, want them different and sorted", field, l.Address, list[n-1].Address)
		}
		list = append(list, l)
	}
	return list
}

func compareLabelled(a, b Labelled) int {
	return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.Address, b.Address))
}

// Sort puts everything in the order of the encoding, once.
func (b *Book) Sort() {
	for _, list := range []*[]Labelled{&b.Add, &b.Remove} {
		slices.SortFunc(*list, compareLabelled)
		*list = slices.Compact(*list)
	}
}

// JSON is the change in the form that people write.
func (b *Book) JSON() []byte {
	x := Book{Add: b.Add, Remove: b.Remove}
	if x.Add == nil {
		x.Add = []Labelled{}
	}
	if x.Remove == nil {
		x.Remove = []Labelled{}
	}
	out, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		panic("governance: an address book change does not marshal: " + err.Error()) // it has texts only
	}
	return out
}

// apply is the policy with the change in its address book. What is to be removed and
// is not there, and what is to be added and is there already, is no error: between a
// proposal and its time others may have done the same.
func (b *Book) apply(d *policy.Document) (*policy.Document, error) {
	next := *d
	next.AddressBook = nil
	for _, e := range d.AddressBook {
		e.Addresses = slices.Clone(e.Addresses)
		next.AddressBook = append(next.AddressBook, e)
	}
	entry := func(label string) int {
		return slices.IndexFunc(next.AddressBook, func(e policy.Entry) bool { return e.Label == label })
	}
	for _, l := range b.Remove {
		if i := entry(l.Label); i >= 0 {
			e := &next.AddressBook[i]
			e.Addresses = slices.DeleteFunc(e.Addresses, func(a string) bool { return a == l.Address })
		}
	}
	for _, l := range b.Add {
		i := entry(l.Label)
		if i < 0 {
			next.AddressBook = append(next.AddressBook, policy.Entry{Label: l.Label})
			i = len(next.AddressBook) - 1
		}
		e := &next.AddressBook[i]
		if !slices.Contains(e.Addresses, l.Address) {
			e.Addresses = append(e.Addresses, l.Address)
			slices.Sort(e.Addresses)
		}
	}
	slices.SortFunc(next.AddressBook, func(a, b policy.Entry) int { return cmp.Compare(a.Label, b.Label) })
	out, err := policy.DecodeDocument(next.Encode())
	if err != nil {
		return nil, refusal.Newf("change.body", "", "the policy with this address book: %v", err)
	}
	return out, nil
}
