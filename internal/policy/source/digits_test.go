package source

import "testing"

// Digits in a text are that text, whatever quotes stand in comments and in other texts
// around it.
func TestDigitsInTextStay(t *testing.T) {
	const digits = "1234567890123456789012"
	for name, text := range map[string]string{
		"plain":                  `message.type == "` + digits + `"`,
		"a quote in a comment":   "// 5\" wide\nmessage.text(\"id\") == \"" + digits + "\"",
		"an apostrophe":          "// it's\nmessage.text('id') == '" + digits + "'",
		"a raw text before":      `message.type == r"\" || message.type == "` + digits + `"`,
		"a raw text":             `message.type == r'` + digits + `'`,
		"a text in three quotes": `message.type == """a"b""" || message.type == "` + digits + `"`,
		"the same, raw":          `message.type == r"""\""" || message.type == "` + digits + `"`,
	} {
		d, err := Compile([]byte("rules:\n  - name: a\n    then: deny\n    when: |\n"+indent(text)), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e := d.Rules[0].When
		if n := len(e.Args); e.Args[n-1].Args != nil { // the last of a chain
			e = e.Args[n-1]
		}
		if got := e.Args[1].Text; got != digits {
			t.Errorf("%s: the text is %q, want %q", name, got, digits)
		}
	}
}

func indent(s string) string {
	out := "      "
	for _, c := range s {
		out += string(c)
		if c == '\n' {
			out += "      "
		}
	}
	return out + "\n"
}
