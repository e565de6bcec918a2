package wire

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName bounds a name (CheckName).
const MaxName = 63

// CheckText says whether s may be shown to people as it is: at most max bytes of
// valid UTF-8 on one line, without control characters and without the marks that
// reverse the direction of writing, which make a terminal or a browser show
// something other than what is signed.
func CheckText(s string, max int) error {
	if len(s) > max {
		return fmt.Errorf("%d bytes of text, at most %d: %w", len(s), max, ErrTooLong)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("text %q is not valid UTF-8", s)
	}
	for _, c := range s {
		if !printable(c) {
			return fmt.Errorf("text %q holds the character %U, want no control characters and no marks that change the direction of writing", s, c)
		}
	}
	return nil
}

func printable(c rune) bool {
	return !unicode.IsControl(c) && c != '\u2028' && c != '\u2029' && !unicode.Is(unicode.Bidi_Control, c)
}

// CleanText makes s fit for CheckText: a character that may not be shown becomes
// U+FFFD, and what is longer than max ends in "…". max is at least 3.
func CleanText(s string, max int) string {
	if CheckText(s, max) == nil {
		return s
	}
	const ellipsis = "…"
	s = strings.Map(func(c rune) rune { // invalid bytes arrive as U+FFFD
		if !printable(c) {
			return utf8.RuneError
		}
		return c
	}, s)
	if len(s) <= max {
		return s
	}
	end := max - len(ellipsis)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// CheckName says whether s is a name: of a person, a group, a rule, a vault, a
// wallet. One alphabet without look-alikes, ^[a-z0-9][a-z0-9._-]{0,62}$.
func CheckName(s string) error {
	ok := len(s) > 0 && len(s) <= MaxName
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || i > 0 && (c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("name %q: want 1 to %d characters of a-z, 0-9, '.', '_' and '-', starting with a letter or a digit", CleanText(s, 80), MaxName)
	}
	return nil
}

// Text reads a string that CheckText allows.
func (r *Reader) Text(field string, max int) string {
	s := r.String(field, max)
	if r.err == nil {
		if err := CheckText(s, max); err != nil {
			r.Fail(fmt.Errorf("%s: %w", field, err))
			return ""
		}
	}
	return s
}

// Name reads a string that CheckName allows.
func (r *Reader) Name(field string) string {
	s := r.String(field, MaxName)
	if r.err == nil {
		if err := CheckName(s); err != nil {
			r.Fail(fmt.Errorf("%s: %w", field, err))
			return ""
		}
	}
	return s
}
