package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/wire"
)

// maxErrors bounds what is told at once.
const maxErrors = 10

// Error is one thing that is wrong with a file.
type Error struct {
	Line   int    `json:"line"`   // counted from 1
	Column int    `json:"column"` // in characters, counted from 1
	Path   string `json:"path"`   // "rules[0].when", with the name of what has one: "rules[0] (payments).when"; empty for the whole
	Text   string `json:"text"`
	source string // the line itself
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
	}
	return fmt.Sprintf("line %d, column %d: %s: %s", e.Line, e.Column, e.Path, e.Text)
}

// Excerpt is the line of the file with a mark under the place.
func (e *Error) Excerpt() string {
	const width = 100
	line := []rune(e.source)
	at, cut := max(e.Column-1, 0), 0
	if at > width*3/4 {
		cut = at - width/2
	}
	if cut > len(line) {
		return ""
	}
	shown := line[cut:min(len(line), cut+width)]
	if strings.TrimSpace(string(shown)) == "" {
		return ""
	}
	number := fmt.Sprintf("%5d | ", e.Line)
	text := wire.CleanText(strings.ReplaceAll(string(shown), "\t", " "), 4*width)
	return number + text + "\n" + strings.Repeat(" ", len(number)+at-cut) + "^"
}

// Errors is everything that is wrong, in the order of the file.
type Errors []*Error

func (e Errors) Error() string {
	var lines []string
	for _, x := range e {
		lines = append(lines, x.Error())
	}
	return strings.Join(lines, "\n")
}

// Text is Error with the lines of the file, for a terminal.
func (e Errors) Text() string {
	var lines []string
	for _, x := range e {
		lines = append(lines, x.Error())
		if s := x.Excerpt(); s != "" {
			lines = append(lines, s)
		}
	}
	return strings.Join(lines, "\n")
}

// reports collects errors of one file.
type reports struct {
	lines  []string // of the file
	errors Errors
}

func (r *reports) add(line, column int, path, format string, args ...any) {
	for _, e := range r.errors {
		if e.Line == line && e.Column == column {
			return // one thing wrong often breaks two checks
		}
	}
	if len(r.errors) < maxErrors {
		e := &Error{Line: line, Column: column, Path: wire.CleanText(path, 200), Text: wire.CleanText(fmt.Sprintf(format, args...), 800)}
		if 0 < line && line <= len(r.lines) {
			e.source = r.lines[line-1]
		}
		r.errors = append(r.errors, e)
	}
}

func (r *reports) err() error {
	if len(r.errors) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errors, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return r.errors
}
