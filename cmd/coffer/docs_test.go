package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPagesNameRealCommands reads every command line of the pages for operators: its
// verb and its flags must be there.
func TestPagesNameRealCommands(t *testing.T) {
	pages, err := filepath.Glob("../../docs/ops/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	pages = append(pages, "../../README.md", "../../docs/three-hosts.md")
	code := regexp.MustCompile("(?m)^    .*$|`[^`\n]+`|(?s)```.*?```")
	call := regexp.MustCompile(`(?m)(?:^|[\s` + "`" + `('"/])coffer ([a-z][^\n` + "`" + `#|;)]*)`)
	flag := regexp.MustCompile(`--([a-z0-9-]+)`)
	found := 0
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range code.FindAllString(string(b), -1) {
			for _, m := range call.FindAllStringSubmatch(span, -1) {
				var words []string
				for _, w := range strings.Fields(m[1]) {
					if strings.HasPrefix(w, "-") || strings.ToLower(w) != w {
						break
					}
					words = append(words, w)
				}
				cmd, rest, err := newRoot().Find(words)
				if err != nil || cmd.Name() == "coffer" {
					t.Errorf("%s: there is no `coffer %s`", page, strings.Join(words, " "))
					continue
				}
				if cmd.HasSubCommands() && len(rest) > 0 {
					t.Errorf("%s: `coffer %s`: %s has no %q", page, m[1], cmd.CommandPath(), rest[0])
				}
				for _, f := range flag.FindAllStringSubmatch(m[1], -1) {
					if f[1] != "help" && cmd.Flags().Lookup(f[1]) == nil {
						t.Errorf("%s: `coffer %s`: %s has no flag --%s", page, m[1], cmd.CommandPath(), f[1])
					}
				}
				found++
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d commands were found: the search is broken", found)
	}
}
