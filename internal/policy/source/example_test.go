package source_test

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/policy/source"
)

func ExampleCompile() {
	_, err := source.Compile([]byte(`
assets:
  ETH: {id: eip155:1/slip44:60, decimals: 18}
rules:
  - name: small-payments
    when: onlyTransfers && totl("ETH") <= amount("1.5 ETH")
    then: allow
`), nil)
	fmt.Println(err)
	// Output: line 6, column 28: rules[0] (small-payments).when: unknown function totl; did you mean "total"?
}

func ExampleYAML() {
	d := source.MustCompile(`{"assets": {"ETH": {"id": "eip155:1/slip44:60", "decimals": 18}},
	  "rules": [{"name": "small-payments", "when": "onlyTransfers && total('ETH') < amount('1.50 ETH')", "then": {"require": {"treasurers": 2}}}]}`)
	fmt.Printf("%s", source.YAML(d))
	// Output:
	// assets:
	//   ETH: {id: eip155:1/slip44:60, decimals: 18}
	//
	// rules:
	//   - name: small-payments
	//     when: onlyTransfers && total("ETH") < amount("1.5 ETH")
	//     then: {require: {treasurers: 2}}
}
