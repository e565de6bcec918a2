package solana

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/mpc/group/ed25519"
)

// Namespace is the CAIP-2 namespace of the family.
const Namespace = "solana"

// Mainnet is the one chain of the family that there is: a message does not name
// its cluster, so that one approved for another could be sent here.
const Mainnet = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"

// Address is an account: a public key, or what a program derived.
type Address [32]byte

// String is the address in base58. There is no checksum.
func (a Address) String() string { return encodeBase58(a[:]) }

// ParseAddress reads base58 of 32 bytes.
func ParseAddress(s string) (a Address, err error) {
	if err := decodeBase58(s, a[:]); err != nil {
		return Address{}, fmt.Errorf("address %.80q: %w", s, err)
	}
	return a, nil
}

// ParseBlockhash reads a blockhash, or a durable nonce, which look alike.
func ParseBlockhash(s string) (h [32]byte, err error) {
	if err := decodeBase58(s, h[:]); err != nil {
		return h, fmt.Errorf("blockhash %.80q: %w", s, err)
	}
	return h, nil
}

// AddressOf is the address of a public key: 32 bytes, as RFC 8032 encodes it.
func AddressOf(publicKey []byte) (Address, error) {
	if len(publicKey) != len(Address{}) {
		return Address{}, fmt.Errorf("public key of %d bytes, want 32 (Ed25519)", len(publicKey))
	}
	if err := ed25519.NewPoint().SetBytes(publicKey); err != nil {
		return Address{}, fmt.Errorf("public key: %w", err)
	}
	return Address(publicKey), nil
}

// ParseChain checks a CAIP-2 name of the family.
func ParseChain(chain string) error {
	if chain != Mainnet {
		return fmt.Errorf("chain %.80q: want %s; a message does not name its cluster, so that one for another cluster could be sent on mainnet", chain, Mainnet)
	}
	return nil
}

// Account is the CAIP-10 name of an address.
func Account(a Address) string { return Mainnet + ":" + a.String() }

// ParseAccount reads a CAIP-10 account.
func ParseAccount(account string) (Address, error) {
	i := strings.LastIndexByte(account, ':')
	if i < 0 {
		return Address{}, fmt.Errorf("account %.120q: want CHAIN:ADDRESS, like %s:…", account, Mainnet)
	}
	if err := ParseChain(account[:i]); err != nil {
		return Address{}, fmt.Errorf("account %.120q: %w", account, err)
	}
	a, err := ParseAddress(account[i+1:])
	if err != nil {
		return Address{}, fmt.Errorf("account %.120q: %w", account, err)
	}
	return a, nil
}

// NativeAsset is the CAIP-19 name of SOL; its smallest unit is the lamport.
const NativeAsset = Mainnet + "/slip44:501"

// The programs and accounts that are known by name.
var (
	SystemProgram        = known("11111111111111111111111111111111")
	ComputeBudgetProgram = known("ComputeBudget111111111111111111111111111111")
	MemoProgram          = known("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
	RecentBlockhashes    = known("SysvarRecentB1ockHashes11111111111111111111")
)

func known(s string) Address {
	a, err := ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}
