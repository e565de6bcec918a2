package source

import (
	"strings"
	"testing"
)

func TestUnknown(t *testing.T) {
	with := func(when string) string {
		return strings.Join(Unknown(MustCompile("methods: [\"swap(address to,uint256)\", \"fill((address maker,uint256 fee) order)\"]\nrules: [{name: r, then: allow, when: '"+when+"'}]")), "\n")
	}
	for when, want := range map[string]string{
		`calls.all(c, c.method == "swap(address,uint256)")`:                                       "",
		`calls.all(c, c.method in ["approve(address,uint256)", "deposit()"])`:                     "",
		`calls.all(c, c.method == "memo(\"x\")")`:                                                 "",
		`calls.all(c, c.address("to") == sender && c.uint("1") == 2 && c.uint("order.fee") == 0)`: "",
		`calls.all(c, c.method == "swop(address,uint256)")`:                                       `rule r: the method swop(address,uint256) is neither built in nor declared under methods, so that no call of it is ever allowed; did you mean "swap(address,uint256)"?`,
		`calls.exists(c, "approve(address)" == c.method)`:                                         "the method approve(address) is neither",
		`calls.exists(c, c.method in ["deposit()", "depositt()"])`:                                `the method depositt() is neither built in nor declared under methods, so that no call of it is ever allowed; did you mean "deposit()"?`,
		`!calls.exists(c, c.uint("amoumt") > 1)`:                                                  `rule r: no method that is built in or declared has an argument "amoumt"; did you mean "amount"?`,
		`calls.all(c, c.uint("ordre.fee") == 0)`:                                                  `an argument "ordre"; did you mean "order"?`,
	} {
		if got := with(when); want == "" && got != "" || !strings.Contains(got, want) || strings.Count(got, "\n") > 0 {
			t.Errorf("%s\n says %q, want %q", when, got, want)
		}
	}
}
