package evm

import (
	"strconv"
	"strings"
)

// Arguments says how the calls of the methods that are read at all look to conditions:
// the name of each, without its parameters' names, with the first parts of its
// arguments' paths. declared are signatures of a policy; what does not parse is left
// out.
func Arguments(declared []string) map[string][]string {
	out := make(map[string][]string)
	add := func(m *method) {
		for i, f := range m.params.fields {
			name := f.name
			if name == "" {
				name = strconv.Itoa(i)
			}
			out[m.name] = append(out[m.name], name)
		}
		if len(m.params.fields) == 0 {
			out[m.name] = nil
		}
	}
	for _, m := range tokens {
		add(m.method)
	}
	for _, m := range permit2BySelector {
		add(m.method)
	}
	for _, s := range declared {
		if strings.HasPrefix(s, messagePrefix) {
			continue
		}
		if m, err := parseMethod(s); err == nil {
			add(m)
		}
	}
	return out
}
