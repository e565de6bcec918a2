package source

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// Bounds of a file. A policy of 512 KiB, the most that vaults take, is a smaller
// file than this even with all its addresses.
const (
	MaxSize  = 4 << 20 // bytes
	maxDepth = 24      // lists and mappings in each other
)

// parse reads one YAML document (or JSON, which YAML contains) into nodes. What
// makes one text mean two things is refused: anchors and aliases, merge keys, tags,
// fields that stand twice, several documents.
func parse(data []byte) (*value, error) {
	rep := new(reports)
	refuse := func(line, column int, format string, args ...any) (*value, error) {
		rep.add(line, column, "", format, args...)
		return nil, rep.err()
	}
	if len(data) > MaxSize {
		return refuse(1, 1, "%d bytes, at most %d", len(data), MaxSize)
	}
	if !utf8.Valid(data) {
		line, column := firstInvalid(data)
		return refuse(line, column, "not UTF-8 text")
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	rep.lines = strings.Split(string(data), "\n")
	var doc yaml.Node
	if err := yaml.Load(data, &doc, yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth)))); err != nil {
		line, column, text := failure(err)
		switch {
		case strings.Contains(text, "max depth"):
			text = "lists and mappings are nested deeper than the 24 levels that any policy needs"
		case strings.Contains(text, "no documents"):
			text = "the file is empty"
		case strings.Contains(text, "multiple"):
			line, column, text = secondDocument(rep.lines), 1, "a second document begins here, want one a file"
		case 0 < line && line <= len(rep.lines) && strings.HasPrefix(strings.TrimLeft(rep.lines[line-1], " "), "\t"):
			text = "neither YAML nor JSON: a tab before the first word; YAML indents with spaces"
		default:
			text = "neither YAML nor JSON: " + text
		}
		return refuse(line, column, "%s", text)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return refuse(1, 1, "the file is empty")
	}
	v := &value{reports: rep, node: doc.Content[0], at: doc.Content[0]}
	v.plain()
	if err := rep.err(); err != nil {
		return nil, err
	}
	return v, nil
}

// plain refuses what is more than mappings, lists and values.
func (v *value) plain() {
	n := v.node
	switch {
	case n.Kind == yaml.AliasNode:
		v.fail("an alias (*%s): write the value out, so that people read what they sign", n.Value)
		return
	case n.Anchor != "":
		v.fail("an anchor (&%s): want plain values", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		v.fail("a tag (%s): want plain values", n.Tag)
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range v.items("") {
			item.plain()
		}
	case yaml.MappingNode:
		seen := make(map[string]bool)
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			key := v.child(k, v.fieldPath(k.Value))
			switch {
			case k.Kind != yaml.ScalarNode:
				key.fail("a field's name is %s, want text", key.kind())
			case k.Tag == "!!merge":
				key.fail("a merge key (<<): write the fields out, so that people read what they sign")
			case seen[k.Value]:
				key.fail("this field stands here twice")
			default:
				if k.Anchor != "" || k.Style&yaml.TaggedStyle != 0 {
					key.fail("an anchor or tag at a field's name: want plain text")
				}
			}
			seen[k.Value] = true
			v.child(n.Content[i+1], key.path).plain()
		}
	}
}

func firstInvalid(data []byte) (line, column int) {
	line, column = 1, 1
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		if c == utf8.RuneError && n == 1 {
			return line, column
		}
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
		data = data[n:]
	}
	return line, column
}

func secondDocument(lines []string) int {
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.HasPrefix(lines[i], "---") {
			return i + 1
		}
	}
	return 1
}
