package evm

import (
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
)

// Declaration is what a policy's declaration is about, for who compares policies.
type Declaration struct {
	Message  bool
	Name     string  // of a method as calls have it, "swap(address,uint256)"; of a message its type, "Order"
	Selector [4]byte // of a method
	// Reserved is the method of this selector that Coffer knows; "" if there is none. A
	// declaration of another name takes its calls away.
	Reserved string
	// Understood: calls are read without a declaration, too, if only with other names of
	// arguments or with another meaning.
	Understood bool
	// Ambiguous: of a contract that it is declared for, the method is read otherwise than
	// where it is declared for all.
	Ambiguous bool
}

// Declared says what a method or message that a policy declares is about.
func Declared(d *chain.Method) (*Declaration, error) {
	signature, message := strings.CutPrefix(d.Signature, messagePrefix)
	m, err := parseMethod(signature)
	if err != nil {
		return nil, err
	}
	if message {
		return &Declaration{Message: true, Name: m.name[:strings.IndexByte(m.name, '(')]}, nil
	}
	out := &Declaration{Name: m.name, Selector: m.selector, Ambiguous: ambiguous[m.name]}
	for _, table := range []map[[4]byte]*builtin{tokensBySelector, permit2BySelector} {
		if b := table[m.selector]; b != nil {
			out.Reserved, out.Understood = b.name, b.name == m.name
		}
	}
	if w := wrappersBySelector[m.selector]; w != nil {
		out.Reserved = w.name
	}
	return out, nil
}
