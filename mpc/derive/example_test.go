package derive_test

import (
	"encoding/hex"
	"fmt"

	"github.com/cofferhq/coffer/mpc/derive"
	"github.com/cofferhq/coffer/mpc/group"
)

// A child of a key that is known by its public key and chain code: here those of
// the first test vector of BIP-32, at m/0'/1/2'. The signers of a session with
// that key take child.Tweak as its tweak and path.Encode() as its path.
func Example() {
	code, _ := hex.DecodeString("04466b9cc8e161e966409ca52986c584f07e9dc81f735db683c3ff6ec7b1503f")
	b, _ := hex.DecodeString("0357bfe1e341d01c69fe5654309956cbea516822fba8a601743a012a7896ee8dc2")
	public := group.Secp256k1().NewPoint()
	if err := public.Decode(b); err != nil {
		fmt.Println(err)
		return
	}
	path, err := derive.ParsePath("m/2/1000000000")
	if err != nil {
		fmt.Println(err)
		return
	}
	child, err := derive.Derive(public, [32]byte(code), path)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s: %x\n", path, child.PublicKey.Encode())
	_, err = derive.ParsePath("m/44'/0")
	fmt.Println(err)
	// Output:
	// m/2/1000000000: 022a471424da5e657499d1ff51cb43c47481a03b1e77f951fe64cec9f5a48f7011
	// step 1 of the path, "44'", is hardened: that takes the private key, which nobody has; want an index below 2147483648
}
