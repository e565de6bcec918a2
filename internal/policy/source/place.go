package source

import (
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// places maps every character of a node's text to its line and column in the file.
// YAML folds lines and strips indentation, but it neither adds nor drops a
// character that is not white space, except for escapes in quotes: so text and file
// are walked side by side.
type places struct {
	line, column []int // of each character, and of the end
}

func (v *value) places() *places {
	text := []rune(v.node.Value)
	w := walk{lines: v.lines, line: v.node.Line - 1, column: v.node.Column - 1, style: v.node.Style}
	switch {
	case w.style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0: // the text begins on the next line
		w.line, w.column = w.line+1, 0
	case w.style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		w.column++
	}
	p := &places{make([]int, len(text)+1), make([]int, len(text)+1)}
	last := [2]int{v.node.Line, v.node.Column}
	var blanks []int // characters whose place is where the next word begins
	for i, c := range text {
		if unicode.IsSpace(c) {
			blanks = append(blanks, i)
			continue
		}
		w.blank()
		at := [2]int{w.line + 1, w.column + 1}
		if w.line >= len(w.lines) { // cannot be; point at the last known place
			at = last
		}
		for _, b := range blanks {
			p.line[b], p.column[b] = last[0], last[1]+1
		}
		blanks = blanks[:0]
		p.line[i], p.column[i] = at[0], at[1]
		w.character()
		last = at
	}
	for _, b := range append(blanks, len(text)) {
		p.line[b], p.column[b] = last[0], last[1]+1
	}
	return p
}

// at is where a character of the text stands; one beyond the end is the end.
func (p *places) at(offset int) (line, column int) {
	offset = min(max(offset, 0), len(p.line)-1)
	return p.line[offset], p.column[offset]
}

// walk is a cursor in the file.
type walk struct {
	lines        []string
	line, column int
	style        yaml.Style
	runes        []rune // of the line runesOf
	runesOf      int
}

func (w *walk) current() []rune {
	if w.runes == nil || w.runesOf != w.line {
		w.runes, w.runesOf = []rune(w.lines[w.line]), w.line
		if w.runes == nil {
			w.runes = []rune{}
		}
	}
	return w.runes
}

// blank passes over white space, the ends of lines and escaped white space.
func (w *walk) blank() {
	for w.line < len(w.lines) {
		line := w.current()
		switch {
		case w.column >= len(line):
			w.line, w.column = w.line+1, 0
		case unicode.IsSpace(line[w.column]):
			w.column++
		case w.escape(line) && w.column+1 >= len(line):
			w.column++ // an escaped end of line
		case w.escape(line) && isBlankEscape(line[w.column+1:]):
			w.column += escapeLength(line[w.column+1])
		default:
			return
		}
	}
}

func (w *walk) escape(line []rune) bool {
	return w.style&yaml.DoubleQuotedStyle != 0 && line[w.column] == '\\'
}

// isBlankEscape says whether what follows a backslash is white space.
func isBlankEscape(after []rune) bool {
	switch n := escapeLength(after[0]); {
	case n > 2 && len(after) >= n-1:
		c, err := strconv.ParseUint(string(after[1:n-1]), 16, 32)
		return err == nil && unicode.IsSpace(rune(c))
	default:
		return strings.ContainsRune("ntr \tvfN_LP", after[0])
	}
}

// escapeLength is the length of an escape with its backslash, by its letter.
func escapeLength(c rune) int {
	switch c {
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	}
	return 2
}

// character passes over one character as the file writes it.
func (w *walk) character() {
	if w.line >= len(w.lines) {
		return
	}
	line := w.current()
	n := 1
	switch {
	case w.escape(line) && w.column+1 < len(line):
		n = escapeLength(line[w.column+1])
	case w.style&yaml.SingleQuotedStyle != 0 && line[w.column] == '\'':
		n = 2
	}
	w.column += n
}
