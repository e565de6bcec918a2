package evm

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"golang.org/x/crypto/sha3"

	"github.com/cofferhq/coffer/internal/chain"
)

// Namespace is the CAIP-2 namespace of the family.
const Namespace = "eip155"

// maxChainID is the bound of EIP-2294, so that the v of a type 0 signature,
// chainID·2+36, fits everywhere.
const maxChainID = 1<<63 - 1 - 36

// Address is an account or a contract.
type Address [20]byte

// String is the address with the checksum of EIP-55.
func (a Address) String() string {
	lower := hex.EncodeToString(a[:])
	sum := keccak256([]byte(lower))
	out := []byte("0x" + lower)
	for i, c := range []byte(lower) {
		nibble := sum[i/2] >> 4
		if i%2 == 1 {
			nibble = sum[i/2] & 15
		}
		if c >= 'a' && nibble >= 8 {
			out[2+i] = c - 'a' + 'A'
		}
	}
	return string(out)
}

// ParseAddress reads 0x and 40 hex digits: all in lower case, or with the right
// EIP-55 checksum. A wrong checksum is a typing error until proven otherwise.
func ParseAddress(s string) (Address, error) {
	var a Address
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok || len(digits) != 40 {
		return a, fmt.Errorf("address %.80q: want 0x and 40 hex digits", s)
	}
	if _, err := hex.Decode(a[:], []byte(digits)); err != nil {
		return Address{}, fmt.Errorf("address %q: want 0x and 40 hex digits", s)
	}
	if digits != strings.ToLower(digits) && s != a.String() {
		return Address{}, fmt.Errorf("address %q: wrong checksum, is a digit mistyped? with these digits it is %s", s, a)
	}
	return a, nil
}

// AddressOf is the address of a public key: 33 bytes, SEC1 compressed.
func AddressOf(publicKey []byte) (Address, error) {
	if len(publicKey) != secp256k1.PubKeyBytesLenCompressed {
		return Address{}, fmt.Errorf("public key of %d bytes, want 33 (SEC1 compressed)", len(publicKey))
	}
	key, err := secp256k1.ParsePubKey(publicKey)
	if err != nil {
		return Address{}, fmt.Errorf("public key is not a point of secp256k1: %w", err)
	}
	return addressOfKey(key), nil
}

func addressOfKey(key *secp256k1.PublicKey) Address {
	sum := keccak256(key.SerializeUncompressed()[1:])
	return Address(sum[12:])
}

// ChainName is the CAIP-2 name of a chain id.
func ChainName(id uint64) string { return Namespace + ":" + strconv.FormatUint(id, 10) }

// ParseChain reads a CAIP-2 name: eip155 and a decimal chain id.
func ParseChain(chain string) (uint64, error) {
	ref, ok := strings.CutPrefix(chain, Namespace+":")
	id, err := strconv.ParseUint(ref, 10, 64)
	if !ok || err != nil || ChainName(id) != chain {
		return 0, fmt.Errorf("chain %.80q: want eip155 and a decimal chain id, like eip155:1", chain)
	}
	if err := checkChainID(id); err != nil {
		return 0, fmt.Errorf("chain %q: %w", chain, err)
	}
	return id, nil
}

func checkChainID(id uint64) error {
	if id == 0 || id > maxChainID {
		return fmt.Errorf("chain id %d, want 1 to %d (EIP-2294)", id, uint64(maxChainID))
	}
	return nil
}

// Account is the CAIP-10 name of an address on a chain.
func Account(chain string, a Address) string { return chain + ":" + a.String() }

// ParseAccount reads a CAIP-10 account in its one canonical form, with the
// checksum: accounts are compared as strings.
func ParseAccount(account string) (chain string, a Address, err error) {
	i := strings.LastIndexByte(account, ':')
	if i < 0 {
		return "", a, fmt.Errorf("account %.120q: want CHAIN:ADDRESS, like eip155:1:0x…", account)
	}
	chain = account[:i]
	if _, err := ParseChain(chain); err != nil {
		return "", a, fmt.Errorf("account %.120q: %w", account, err)
	}
	if a, err = ParseAddress(account[i+1:]); err != nil {
		return "", a, fmt.Errorf("account %.120q: %w", account, err)
	}
	if want := Account(chain, a); want != account {
		return "", Address{}, fmt.Errorf("account %q: want it with its checksum, %s", account, want)
	}
	return chain, a, nil
}

// NativeAsset is the CAIP-19 name of a chain's own coin. The family writes
// slip44:60 for every chain, so that no registry is needed to decide; the chain
// id in front of it tells them apart.
func NativeAsset(chain string) string { return chain + "/slip44:60" }

// TokenAsset is the CAIP-19 name of an ERC-20 token.
func TokenAsset(chain string, token Address) string { return chain + "/erc20:" + token.String() }

// CollectionAsset is the CAIP-19 name of all items of an ERC-721 contract: they
// are counted, not told apart.
func CollectionAsset(chain string, contract Address) string {
	return chain + "/erc721:" + contract.String()
}

// MultiAsset is the CAIP-19 name of one token of an ERC-1155 contract.
func MultiAsset(name string, contract Address, id chain.Amount) string {
	return name + "/erc1155:" + contract.String() + "/" + id.Dec()
}

// CheckAsset checks that an asset is spelled as effects spell it.
func CheckAsset(asset string) error {
	id, namespace, reference, err := chain.ParseAsset(asset)
	if err != nil {
		return err
	}
	contract, _, token := strings.Cut(reference, "/")
	switch namespace {
	case "slip44":
		if want := NativeAsset(id); asset != want {
			return fmt.Errorf("asset %s: want %s for the chain's own coin", asset, want)
		}
		return nil
	case "erc1155":
		if !token {
			return fmt.Errorf("asset %s: want the token's number behind the contract, %s/1", asset, asset)
		}
	case "erc20", "erc721":
	default:
		return fmt.Errorf("asset %s: want one of slip44, erc20, erc721 and erc1155", asset)
	}
	if _, _, err := ParseAccount(id + ":" + contract); err != nil {
		return fmt.Errorf("asset %s: %w", asset, err)
	}
	return nil
}

func keccak256(b ...[]byte) [32]byte {
	h := sha3.NewLegacyKeccak256()
	for _, x := range b {
		h.Write(x)
	}
	var out [32]byte
	h.Sum(out[:0])
	return out
}
