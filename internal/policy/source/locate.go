package source

// Locate finds where a file says something: a guard, rule, invariant or limit by its
// name (kind "guard", "rule", "invariant", "limit"), or a zone. Findings about the
// meaning of a document know names only, people look for lines. Both are counted
// from 1; 0, 0 when it is not there.
func Locate(data []byte, kind, name string) (line, column int) {
	v, err := parse(data)
	if err != nil {
		return 0, 0
	}
	section, ok := v.lookup(kind + "s")
	switch {
	case !ok:
	case section.isMapping():
		section.each("", func(key string, at, _ *value) {
			if key == name {
				line, column = at.node.Line, at.node.Column
			}
		})
	default:
		for _, item := range section.items("") {
			if n, ok := item.lookup("name"); ok && n.node.Value == name {
				return n.node.Line, n.node.Column
			}
		}
	}
	return line, column
}
