package source

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every example of the guide compiles, survives being shown, and its cases hold.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml (policy|cases)\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	policies, ran := 0, 0
	var last string
	for _, b := range blocks {
		if b[1] == "policy" {
			policies++
			last = b[2]
			d, err := Compile([]byte(b[2]), nil)
			if err != nil {
				t.Errorf("%v\nin\n%s", err, b[2])
				continue
			}
			same(t, d)
			continue
		}
		d := MustCompile(last)
		cs, err := ParseCases([]byte(b[2]), d, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range cs.Run(d) {
			ran++
			if !o.Passes {
				t.Errorf("%s: %s\n%s", o.Name, strings.Join(o.Wrong, "\n"), o.Result.Detail)
			}
		}
	}
	if policies < 6 || ran < 4 {
		t.Errorf("%d policies and %d cases were found: the search is broken", policies, ran)
	}
	// The error that the guide shows is the one of its first example with a slip.
	slip := strings.Replace(blocks[0][2], "total(\"ETH\") <= amount(\"1.5", "totl(\"ETH\") <= amount(\"1.5", 1)
	_, err = Compile([]byte(slip), nil)
	if err == nil || !strings.Contains(string(guide), "policy.yaml: "+err.Error()+"\n") {
		t.Errorf("the guide does not show %v", err)
	}
}
