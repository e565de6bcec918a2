package dkg

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// The bodies of the messages, after header and echo. Each decoder reads all of
// it: bytes left over are an error.

// opening is the body of D2.
type opening struct {
	vector     sharing.Commitment // Aᵢ
	encoded    [][33]byte         // Aᵢ as sent
	proofNonce *secp256k1.Point   // Kᵢ
	proof      *secp256k1.Scalar  // zᵢ
	chain      [32]byte           // ccᵢ
	salt       [32]byte
	seeds      [][32]byte // M_{i→j}, j ≠ i ascending
}

func (o *opening) write(w *wire.Writer) {
	k, z := o.proofNonce.Bytes(), o.proof.Bytes()
	writePoints(w, o.encoded)
	w.Fixed(k[:]).Fixed(z[:]).Fixed(o.chain[:]).Fixed(o.salt[:]).Count(len(o.seeds))
	for i := range o.seeds {
		w.Fixed(o.seeds[i][:])
	}
}

func readOpening(r *wire.Reader) (*opening, error) {
	o := new(opening)
	o.vector = readPoints(r, "feldman vector")
	o.proofNonce = readPoint(r, "nonce of the proof of possession")
	o.proof = readScalar(r, "proof of possession")
	r.Into("chain-code share", o.chain[:])
	r.Into("salt", o.salt[:])
	o.seeds = make([][32]byte, r.Count("seed commitments", mpc.MaxParties-1, 32))
	for i := range o.seeds {
		r.Into("seed commitment", o.seeds[i][:])
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	o.encoded = o.vector.Encode()
	return o, nil
}

// commitment is Cᵢ = RO("dkg-com", sid, i, Aᵢ…, Kᵢ, ccᵢ, saltᵢ).
func (o *opening) commitment(sid [32]byte, id mpc.ID) [32]byte {
	k := o.proofNonce.Bytes()
	items := append(o.items(sid, id), k[:], o.chain[:], o.salt[:])
	return transcript.Sum(transcript.TagDKGCommit, items...)
}

// challenge is eᵢ = RO_q("dkg-pok", sid, i, Aᵢ…, Kᵢ).
func (o *opening) challenge(sid [32]byte, id mpc.ID) *secp256k1.Scalar {
	k := o.proofNonce.Bytes()
	return transcript.Scalar(transcript.TagDKGProof, append(o.items(sid, id), k[:])...)
}

func (o *opening) items(sid [32]byte, id mpc.ID) [][]byte {
	items := make([][]byte, 0, 5+len(o.encoded))
	items = append(items, sid[:], transcript.Uint16(uint16(id)))
	for k := range o.encoded {
		items = append(items, o.encoded[k][:])
	}
	return items
}

// proves checks the proof of possession, zG = K + e·A₀. All of it is public.
func (o *opening) proves(sid [32]byte, id mpc.ID) bool {
	e := o.challenge(sid, id)
	left := secp256k1.NewPoint().MultiScalarMultVartime(
		[]*secp256k1.Scalar{o.proof, e.Negate(e)},
		[]*secp256k1.Point{secp256k1.Generator(), o.vector[0]})
	return left.Equal(o.proofNonce) == 1
}

// seedHalf is what a party contributes to the zero-share seed of a pair.
type seedHalf struct{ seed, salt [32]byte }

// commitment is M_{i→j}.
func (s *seedHalf) commitment(sid [32]byte, from, to mpc.ID) [32]byte {
	return transcript.Sum(transcript.TagDKGSeed, sid[:],
		transcript.Uint16(uint16(from)), transcript.Uint16(uint16(to)), s.seed[:], s.salt[:])
}

// pairSeed is kᵢⱼ = RO("dkg-zero", sid, lo, hi, seed_{lo→hi}, seed_{hi→lo}).
func pairSeed(sid [32]byte, self, peer mpc.ID, own, theirs *seedHalf) [32]byte {
	if self > peer {
		self, peer, own, theirs = peer, self, theirs, own
	}
	return transcript.Sum(transcript.TagDKGZero, sid[:],
		transcript.Uint16(uint16(self)), transcript.Uint16(uint16(peer)), own.seed[:], theirs.seed[:])
}

// deal is the body of D3.
type deal struct {
	share *secp256k1.Scalar // fᵢ(j)
	half  seedHalf
	sig   []byte
}

func (d *deal) write(w *wire.Writer) {
	share := d.share.Bytes()
	w.Fixed(share[:]).Fixed(d.half.seed[:]).Fixed(d.half.salt[:]).Var(d.sig)
	clear(share[:])
}

func readDeal(r *wire.Reader) (*deal, error) {
	d := new(deal)
	d.share = readScalar(r, "share")
	r.Into("seed", d.half.seed[:])
	r.Into("seed salt", d.half.salt[:])
	d.sig = r.Var("signature on the share", maxShareSignature)
	if r.Err() == nil && len(d.sig) == 0 {
		r.Failf("signature on the share is empty")
	}
	return d, r.Done()
}

const maxShareSignature = 256

// shareDigest is what the dealer signs, so that a wrong share is evidence.
func shareDigest(sid [32]byte, from, to mpc.ID, share *secp256k1.Scalar, vector [32]byte) [32]byte {
	b := share.Bytes()
	defer clear(b[:])
	return transcript.Sum(transcript.TagDKGShare, sid[:],
		transcript.Uint16(uint16(from)), transcript.Uint16(uint16(to)), b[:], vector[:])
}

const evidenceVersion = 1

// EvidenceError is the Err of an attributed abort that anybody can verify.
type EvidenceError struct {
	// Evidence is for VerifyEvidence. It holds the share that was dealt wrongly,
	// of a key that never came to be.
	Evidence []byte
	Err      error
}

func (e *EvidenceError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *EvidenceError) Unwrap() error { return e.Err }

// Evidence returns every piece of evidence in the chain of an abort.
func Evidence(err error) [][]byte {
	var out [][]byte
	switch e := err.(type) {
	case *EvidenceError:
		out = append(out, e.Evidence)
	case interface{ Unwrap() []error }:
		for _, sub := range e.Unwrap() {
			out = append(out, Evidence(sub)...)
		}
	case interface{ Unwrap() error }:
		out = Evidence(e.Unwrap())
	}
	return out
}

func encodeEvidence(sid [32]byte, from, to mpc.ID, d *deal, vector [][33]byte) []byte {
	share := d.share.Bytes()
	w := wire.NewWriter(evidenceVersion).
		Fixed(sid[:]).
		Uint16(uint16(from)).
		Uint16(uint16(to)).
		Fixed(share[:])
	writePoints(w, vector)
	return w.Var(d.sig).Bytes()
}

// VerifyEvidence returns the party that the evidence convicts of dealing a share
// that is not on the polynomial it committed to. verify checks the signature of
// a party's session key. An error means that the evidence convicts nobody.
func VerifyEvidence(evidence []byte, verify func(id mpc.ID, digest [32]byte, sig []byte) bool) (mpc.ID, error) {
	r := wire.NewReader(evidence, evidenceVersion)
	var sid [32]byte
	r.Into("sid", sid[:])
	from, to := mpc.ID(r.Uint16("from")), mpc.ID(r.Uint16("to"))
	share := readScalar(r, "share")
	vector := readPoints(r, "feldman vector")
	sig := r.Var("signature", maxShareSignature)
	if r.Err() == nil && (from == 0 || to == 0) {
		r.Failf("participant id 0")
	}
	if r.Err() == nil && (len(vector) < 2 || len(sig) == 0) {
		r.Failf("feldman vector of %d points and signature of %d bytes, want 2 to %d points and a signature", len(vector), len(sig), mpc.MaxParties)
	}
	if err := r.Done(); err != nil {
		return 0, fmt.Errorf("couldn't decode evidence: %w", err)
	}
	if !verify(from, shareDigest(sid, from, to, share, vector.Hash()), sig) {
		return 0, fmt.Errorf("signature of participant %d on the share does not verify: nobody is convicted", from)
	}
	if vector.Verify(to, share) == nil {
		return 0, fmt.Errorf("the share that participant %d dealt to %d is right: nobody is convicted", from, to)
	}
	return from, nil
}
