package attest_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/signature"
)

// A peer checks what another vault's TPM says: that it is about the keys on the vault's
// card, for this connection, and that the admins accept such a machine.
func Example() {
	text, err := os.ReadFile("testdata/swtpm-plain.hex")
	if err != nil {
		panic(err)
	}
	var f [][]byte
	for _, line := range strings.Split(string(text), "\n") {
		b, err := hex.DecodeString(line)
		if err != nil {
			panic(err)
		}
		f = append(f, b)
	}
	want := attest.Want{Nonce: [32]byte(f[1]), Bind: [32]byte(f[2])}
	want.Identity, _ = signature.DecodePublicKey(f[3])
	want.Decision, _ = signature.DecodePublicKey(f[4])

	r, err := attest.Verify(attest.KindTPM, f[0], want)
	fmt.Println(r.Manufacturer, r.Model, r.Emulator, err)

	policy := attest.Policy{Measurements: []attest.Measurement{r.Measurement("release 1")}}
	fmt.Println(policy.Check(r))
	policy.Emulators = true
	fmt.Println(policy.Check(r))
	// Output:
	// IBM SW TPM true <nil>
	// measurements are not accepted: the TPM says that it is software (IBM SW TPM), and the policy accepts no emulators
	// <nil>
}
