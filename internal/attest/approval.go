package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Command codes of the TPM 2.0 library, part 2, that policies are made of.
const (
	ccPolicyNV        = 0x0149
	ccECDHZGen        = 0x0154
	ccSign            = 0x015d
	ccPolicySigned    = 0x0160
	ccPolicyAuthorize = 0x016a
	ccPolicyOR        = 0x0171

	opEqual       = 0x0000 // TPM_EO_EQ
	opUnsignedLE  = 0x0009 // TPM_EO_UNSIGNED_LE
	tagHashcheck  = 0x8024 // TPM_ST_HASHCHECK
	hierarchyNull = 0x40000007
)

// MaxApprovers bounds an approver set: its m-subsets must fit in a TPM's policy, at
// most 8 to an OR.
const MaxApprovers = 8

// orWidth is how many branches one PolicyOR takes.
const orWidth = 8

// The references that stand in what approvers, authorities and operators sign, so that
// the three can't be taken for one another.
var (
	approverRef  = wire.Hash("coffer/tpm-approver/v1")
	authorityRef = wire.Hash("coffer/tpm-authority/v1")
	operatorRef  = wire.Hash("coffer/tpm-operator/v1")
)

// ApproverRef, AuthorityRef and OperatorRef are the policyRef of PolicySigned by an
// approver, of PolicyAuthorize, and of PolicySigned by a cold key's operator.
func ApproverRef() []byte  { return slices.Clone(approverRef[:]) }
func AuthorityRef() []byte { return slices.Clone(authorityRef[:]) }
func OperatorRef() []byte  { return slices.Clone(operatorRef[:]) }

// Policy is an authPolicy under construction: the policyDigest of a policy session.
type policyDigest [32]byte

func (d policyDigest) extend(cc uint32, args ...[]byte) policyDigest {
	h := sha256.New()
	h.Write(d[:])
	h.Write(binary.BigEndian.AppendUint32(nil, cc))
	for _, a := range args {
		h.Write(a)
	}
	return policyDigest(h.Sum(nil))
}

// signed is TPM2_PolicySigned: two hashes, the second over the reference alone.
func (d policyDigest) signed(key Name, ref []byte) policyDigest {
	first := d.extend(ccPolicySigned, key[:])
	return sha256.Sum256(append(first[:], ref...))
}

// counter is TPM2_PolicyNV: the counter compares so with the value.
func (d policyDigest) counter(index Name, op uint16, value uint64) policyDigest {
	b := binary.BigEndian.AppendUint64(nil, value)
	b = binary.BigEndian.AppendUint16(b, 0) // offset
	args := sha256.Sum256(binary.BigEndian.AppendUint16(b, op))
	return d.extend(ccPolicyNV, args[:], index[:])
}

// either is TPM2_PolicyOR, which forgets what stood before.
func either(branches []policyDigest) policyDigest {
	var all []byte
	for _, b := range branches {
		all = append(all, b[:]...)
	}
	return policyDigest{}.extend(ccPolicyOR, all)
}

// authorized is TPM2_PolicyAuthorize, which forgets what stood before.
func authorized(authority Name) policyDigest {
	first := policyDigest{}.extend(ccPolicyAuthorize, authority[:])
	return sha256.Sum256(append(first[:], authorityRef[:]...))
}

// EpochPolicy is the authPolicy of a seal key of a device that erases: usable while
// the counter is at most limit, and, for a cold key, with the operator's signature over
// the device's challenge.
func EpochPolicy(counter Name, limit uint64, operator *signature.PublicKey) ([32]byte, error) {
	d := policyDigest{}.counter(counter, opUnsignedLE, limit)
	if operator == nil {
		return d, nil
	}
	a, err := VerifierArea(*operator)
	if err != nil {
		return [32]byte{}, err
	}
	return d.signed(NameOf(a.Encode()), operatorRef[:]), nil
}

// authDigest is what PolicySigned has signed: the authorisation's nonce, how long it
// lasts, the one command that it is for, and the reference.
func authDigest(nonce []byte, expiration int32, cpHash [32]byte, ref []byte) [32]byte {
	return sha256.Sum256(authPreimage(nonce, expiration, cpHash, ref))
}

func authPreimage(nonce []byte, expiration int32, cpHash [32]byte, ref []byte) []byte {
	b := binary.BigEndian.AppendUint32(slices.Clone(nonce), uint32(expiration))
	return append(append(b, cpHash[:]...), ref...)
}

// signHash is the cpHash of TPM2_Sign by a key, ECDSA with SHA-256, of one digest.
func signHash(key Name, digest [32]byte) [32]byte {
	b := binary.BigEndian.AppendUint32(nil, ccSign)
	b = append(b, key[:]...)
	b = appendSized(b, digest[:])
	b = binary.BigEndian.AppendUint16(b, algECDSA)
	b = binary.BigEndian.AppendUint16(b, algSHA256)
	b = binary.BigEndian.AppendUint16(b, tagHashcheck)
	b = binary.BigEndian.AppendUint32(b, hierarchyNull)
	b = appendSized(b, nil)
	return sha256.Sum256(b)
}

// SignHash is the cpHash of the device's signature over a statement.
func SignHash(area []byte, st signature.Statement) [32]byte {
	return signHash(NameOf(area), st.Digest())
}

// ExchangeHash is the cpHash of TPM2_ECDH_ZGen by a key with one point (65 bytes,
// uncompressed): the opening of one blob.
func ExchangeHash(key Name, point []byte) ([32]byte, error) {
	if len(point) != 65 {
		return [32]byte{}, fmt.Errorf("point of %d bytes, want 65", len(point))
	}
	b := binary.BigEndian.AppendUint32(nil, ccECDHZGen)
	b = append(b, key[:]...)
	b = appendSized(b, appendSized(appendSized(nil, point[1:33]), point[33:]))
	return sha256.Sum256(b), nil
}

// OperatorDigest is what a cold key's operator signs: the opening of one blob, in the
// one session whose nonce the device drew, within expiration seconds.
func OperatorDigest(nonce []byte, expiration int32, exchange [32]byte) [32]byte {
	return authDigest(nonce, expiration, exchange, operatorRef[:])
}

// OperatorPreimage is what OperatorDigest is the SHA-256 of.
func OperatorPreimage(nonce []byte, expiration int32, exchange [32]byte) []byte {
	return authPreimage(nonce, expiration, exchange, operatorRef[:])
}

// CheckOperatorPreimage checks, for an operator, that what he is asked to sign opens a
// cold key's blob and is nothing else: neither an approval, nor an approver set, nor a
// Statement. A helper that has gone bad would have him sign any digest.
func CheckOperatorPreimage(preimage []byte, digest [32]byte) error {
	const rest = 4 + 32 // expiration, cpHash
	switch n := len(preimage) - rest - len(operatorRef); {
	case sha256.Sum256(preimage) != digest:
		return errors.New("the device's challenge does not show what is to be signed")
	case n < 16 || n > 32: // the TPM's nonce
		return fmt.Errorf("the device's challenge has a nonce of %d bytes, want 16 to 32: it is no challenge of a TPM", n)
	case !bytes.HasSuffix(preimage, operatorRef[:]):
		return errors.New("the device's challenge is none for an operator of a cold key: an approval is signed with coffer approve, which shows the request")
	case bytes.Contains(preimage, []byte("coffer/")): // as in every Statement
		return errors.New("the device's challenge reads as a statement: the helper is not to be trusted")
	}
	return nil
}

// ApprovalDigest is what an approver signs, offline, so that the approval key of this
// public area signs this statement, and nothing else under any key.
func ApprovalDigest(area []byte, st signature.Statement) ([32]byte, error) {
	if _, err := checkApprovalArea(area); err != nil {
		return [32]byte{}, err
	}
	return authDigest(nil, 0, SignHash(area, st), approverRef[:]), nil
}

// approvalAttributes are those of an approval key, exactly: made in the TPM, never to
// leave it, usable in no way but by its policy.
const approvalAttributes = attrFixedTPM | attrFixedParent | attrDataOrigin | attrAdminWithPolicy | attrNoDA | attrSign

// ApprovalArea is the template of an approval key: its public area but for the point.
func ApprovalArea(authority signature.PublicKey) (attributes uint32, policy [32]byte, err error) {
	a, err := VerifierArea(authority)
	if err != nil {
		return 0, [32]byte{}, err
	}
	return approvalAttributes, authorized(NameOf(a.Encode())), nil
}

func checkApprovalArea(area []byte) (Area, error) {
	a, err := DecodeArea(area)
	if err != nil {
		return Area{}, err
	}
	if a.Attributes != approvalAttributes {
		return Area{}, fmt.Errorf("approval key has attributes 0x%08x, want 0x%08x: made in the TPM, fixed to it, usable by its policy only", a.Attributes, uint32(approvalAttributes))
	}
	if len(a.Policy) != 32 {
		return Area{}, errors.New("approval key has no policy: whoever holds the device could sign with it")
	}
	return a, nil
}

// ReadApprovalKey checks the public area of an approval key, but for whose policy it
// is, and returns the verification key: a card that names another names a key that
// no device guards.
func ReadApprovalKey(area []byte) (signature.PublicKey, error) {
	a, err := checkApprovalArea(area)
	return a.Key, err
}

// CheckApprovalKey checks the public area of an approval key: the key can leave no
// TPM, signs only under a policy, and that policy is the authority's. It returns the
// verification key. That a TPM holds it is what evidence shows.
func CheckApprovalKey(area []byte, authority signature.PublicKey) (signature.PublicKey, error) {
	a, err := checkApprovalArea(area)
	if err != nil {
		return signature.PublicKey{}, err
	}
	_, want, err := ApprovalArea(authority)
	if err != nil {
		return signature.PublicKey{}, err
	}
	if !slices.Equal(a.Policy, want[:]) {
		return signature.PublicKey{}, fmt.Errorf("approval key has policy %x, the policy of authority %s is %x", a.Policy, authority.Fingerprint(), want)
	}
	return a.Key, nil
}

// Approvers is who approves at a device: any Need of Keys, while the device's
// generation counter has the value Generation. The authority signs AuthorityDigest of
// it; with the next generation in force the device takes no approval of the last one.
type Approvers struct {
	Keys       []signature.PublicKey // ascending by encoding
	Need       int
	Counter    Name // of the generation counter
	Generation uint64
}

const approversVersion = 1

// NewApprovers orders the keys.
func NewApprovers(keys []signature.PublicKey, need int, counter Name, generation uint64) (Approvers, error) {
	s := Approvers{slices.Clone(keys), need, counter, generation}
	slices.SortFunc(s.Keys, compareKeys)
	return s, s.check()
}

func compareKeys(a, b signature.PublicKey) int { return slices.Compare(a.Bytes(), b.Bytes()) }

func (s Approvers) check() error {
	if len(s.Keys) < 1 || len(s.Keys) > MaxApprovers {
		return fmt.Errorf("%d approvers, want 1 to %d", len(s.Keys), MaxApprovers)
	}
	if s.Need < 1 || s.Need > len(s.Keys) {
		return fmt.Errorf("%d of %d approvers, want 1 to %d", s.Need, len(s.Keys), len(s.Keys))
	}
	for i, k := range s.Keys {
		if _, err := VerifierArea(k); err != nil {
			return fmt.Errorf("approver %d: %w", i+1, err)
		}
		if i > 0 && compareKeys(s.Keys[i-1], k) >= 0 {
			return fmt.Errorf("approver %d: keys must ascend and differ, and this one is not above the last", i+1)
		}
	}
	if binary.BigEndian.Uint16(s.Counter[:]) != algSHA256 {
		return fmt.Errorf("counter's name has hash algorithm 0x%04x, want SHA-256", binary.BigEndian.Uint16(s.Counter[:]))
	}
	return nil
}

// Encode is the canonical encoding.
func (s Approvers) Encode() []byte {
	w := wire.NewWriter(approversVersion).Uint8(uint8(s.Need)).Count(len(s.Keys))
	for _, k := range s.Keys {
		signature.WriteKey(w, k)
	}
	return w.Fixed(s.Counter[:]).Uint64(s.Generation).Bytes()
}

// DecodeApprovers is the inverse of Encode.
func DecodeApprovers(b []byte) (Approvers, error) {
	r := wire.NewReader(b, approversVersion)
	var s Approvers
	s.Need = int(r.Uint8("need"))
	for range r.Count("approvers", MaxApprovers, 4) {
		s.Keys = append(s.Keys, signature.ReadKey(r, "approver"))
	}
	r.Into("counter", s.Counter[:])
	s.Generation = r.Uint64("generation")
	err := r.Done()
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return Approvers{}, fmt.Errorf("couldn't decode approver set: %w", err)
	}
	return s, nil
}

// subsets lists the ascending need-subsets of 0…n−1 in lexicographic order.
func subsets(n, need int) [][]int {
	var out [][]int
	var grow func(at int, have []int)
	grow = func(at int, have []int) {
		if len(have) == need {
			out = append(out, slices.Clone(have))
			return
		}
		for i := at; i < n; i++ {
			grow(i+1, append(have, i))
		}
	}
	grow(0, nil)
	return out
}

// leaves are the policies of the subsets, each a chain of PolicySigned.
func (s Approvers) leaves() (all [][]int, digests []policyDigest, err error) {
	all = subsets(len(s.Keys), s.Need)
	for _, subset := range all {
		var d policyDigest
		for _, i := range subset {
			a, err := VerifierArea(s.Keys[i])
			if err != nil {
				return nil, nil, err
			}
			d = d.signed(NameOf(a.Encode()), approverRef[:])
		}
		digests = append(digests, d)
	}
	return all, digests, nil
}

// AnyOf is one PolicyOR that a session runs.
type AnyOf [][32]byte

// level groups branches by eight; a group of one stays as it is.
func level(branches []policyDigest) (groups [][]policyDigest, up []policyDigest) {
	for g := range slices.Chunk(branches, orWidth) {
		groups = append(groups, g)
		if len(g) == 1 {
			up = append(up, g[0])
		} else {
			up = append(up, either(g))
		}
	}
	return groups, up
}

// Path is the way of one subset through the tree of ORs: the lists that the session
// gives to PolicyOR, in order, after the PolicySigned of the subset.
func (s Approvers) Path(subset []int) ([]AnyOf, error) {
	all, branches, err := s.leaves()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(x []int) bool { return slices.Equal(x, subset) })
	if at < 0 {
		return nil, fmt.Errorf("approvers %v are no %d of %d", subset, s.Need, len(s.Keys))
	}
	var path []AnyOf
	for len(branches) > 1 {
		groups, up := level(branches)
		at /= orWidth
		if len(groups[at]) > 1 {
			var list AnyOf
			for _, d := range groups[at] {
				list = append(list, d)
			}
			path = append(path, list)
		}
		branches = up
	}
	return path, nil
}

// Policy is the policy that the authority approves: any of the subsets, then the
// generation.
func (s Approvers) Policy() ([32]byte, error) {
	if err := s.check(); err != nil {
		return [32]byte{}, err
	}
	_, branches, err := s.leaves()
	if err != nil {
		return [32]byte{}, err
	}
	for len(branches) > 1 {
		_, branches = level(branches)
	}
	return branches[0].counter(s.Counter, opEqual, s.Generation), nil
}

// AuthorityDigest is what the authority signs, as it is, so that the set comes into force.
func (s Approvers) AuthorityDigest() ([32]byte, error) {
	p, err := s.Policy()
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(append(p[:], authorityRef[:]...)), nil
}

// CheckApprovers checks that the authority of the approval key put the set in force.
func CheckApprovers(area []byte, authority signature.PublicKey, s Approvers, by signature.Signature) error {
	if _, err := CheckApprovalKey(area, authority); err != nil {
		return err
	}
	d, err := s.AuthorityDigest()
	if err != nil {
		return err
	}
	if err := signature.VerifyDigest(authority, d, by); err != nil {
		return fmt.Errorf("approver set of generation %d is not the authority's: %w", s.Generation, err)
	}
	return nil
}
