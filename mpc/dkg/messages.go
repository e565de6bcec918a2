package dkg

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// The bodies of the messages, after header and echo. Each decoder reads all of
// it: bytes left over are an error.

// opening is the body of D2.
type opening struct {
	vector     sharing.Commitment // Aᵢ
	proofNonce group.Point        // Kᵢ
	encoded    [][]byte           // Aᵢ and then Kᵢ, as sent
	proof      group.Scalar       // zᵢ
	chain      [32]byte           // ccᵢ
	salt       [32]byte
	seeds      [][32]byte // M_{i→j}, j ≠ i ascending; none if the suite has no zero shares
}

// encode fills encoded, with one inversion for all points.
func (o *opening) encode() {
	o.encoded = group.EncodePoints(append(slices.Clone(o.vector), o.proofNonce))
}

// points is Aᵢ as sent.
func (o *opening) points() [][]byte { return o.encoded[:len(o.vector)] }

// hash is H(Aᵢ).
func (o *opening) hash() [32]byte { return sharing.HashEncoded(o.points()) }

func (o *opening) write(w *wire.Writer, suite mpc.Suite) {
	writePoints(w, o.points())
	w.Fixed(o.encoded[len(o.vector)]).Fixed(o.proof.Encode()).Fixed(o.chain[:]).Fixed(o.salt[:])
	if !suite.ZeroShares() {
		return
	}
	w.Count(len(o.seeds))
	for i := range o.seeds {
		w.Fixed(o.seeds[i][:])
	}
}

func readOpening(r *wire.Reader, c group.Curve, suite mpc.Suite) (*opening, error) {
	o := new(opening)
	o.vector = make(sharing.Commitment, r.Count("feldman vector", mpc.MaxParties, c.PointSize()))
	o.encoded = make([][]byte, len(o.vector)+1)
	for k := range o.vector {
		o.vector[k], o.encoded[k] = readEncoded(r, c, "feldman vector")
	}
	o.proofNonce, o.encoded[len(o.vector)] = readEncoded(r, c, "nonce of the proof of possession")
	o.proof = readScalar(r, c, "proof of possession")
	r.Into("chain-code share", o.chain[:])
	r.Into("salt", o.salt[:])
	if suite.ZeroShares() {
		o.seeds = make([][32]byte, r.Count("seed commitments", mpc.MaxParties-1, 32))
		for i := range o.seeds {
			r.Into("seed commitment", o.seeds[i][:])
		}
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return o, nil
}

// commitment is Cᵢ = RO("dkg-com", sid, i, Aᵢ…, Kᵢ, ccᵢ, saltᵢ).
func (o *opening) commitment(sid [32]byte, id mpc.ID) [32]byte {
	items := append(o.items(sid, id), o.chain[:], o.salt[:])
	return transcript.Sum(transcript.TagDKGCommit, items...)
}

// challenge is eᵢ = RO_q("dkg-pok", sid, i, Aᵢ…, Kᵢ).
func (o *opening) challenge(sid [32]byte, id mpc.ID) group.Scalar {
	return transcript.ScalarOf(o.proofNonce.Curve(), transcript.TagDKGProof, o.items(sid, id)...)
}

// items are sid, i, Aᵢ…, Kᵢ.
func (o *opening) items(sid [32]byte, id mpc.ID) [][]byte {
	items := make([][]byte, 0, 5+len(o.encoded))
	items = append(items, sid[:], transcript.Uint16(uint16(id)))
	return append(items, o.encoded...)
}

// proves checks the proof of possession, zG = K + e·A₀. All of it is public.
func (o *opening) proves(sid [32]byte, id mpc.ID) bool {
	e := o.challenge(sid, id)
	left := e.Curve().NewPoint().DoubleScalarMultVartime(e.Negate(e), o.vector[0], o.proof)
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
	share group.Scalar // fᵢ(j)
	half  seedHalf     // zero if the suite has no zero shares
	sig   []byte
}

func (d *deal) write(w *wire.Writer, suite mpc.Suite) {
	share := d.share.Encode()
	w.Fixed(share)
	if suite.ZeroShares() {
		w.Fixed(d.half.seed[:]).Fixed(d.half.salt[:])
	}
	w.Var(d.sig)
	clear(share)
}

func readDeal(r *wire.Reader, c group.Curve, suite mpc.Suite) (*deal, error) {
	d := new(deal)
	d.share = readScalar(r, c, "share")
	if suite.ZeroShares() {
		r.Into("seed", d.half.seed[:])
		r.Into("seed salt", d.half.salt[:])
	}
	d.sig = r.Var("signature on the share", maxShareSignature)
	if r.Err() == nil && len(d.sig) == 0 {
		r.Failf("signature on the share is empty")
	}
	return d, r.Done()
}

const maxShareSignature = 256

// shareDigest is what the dealer signs, so that a wrong share is evidence.
func shareDigest(sid [32]byte, from, to mpc.ID, share group.Scalar, vector [32]byte) [32]byte {
	b := share.Encode()
	defer clear(b)
	return transcript.Sum(transcript.TagDKGShare, sid[:],
		transcript.Uint16(uint16(from)), transcript.Uint16(uint16(to)), b, vector[:])
}

const evidenceVersion = 2

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

func encodeEvidence(suite mpc.Suite, sid [32]byte, from, to mpc.ID, d *deal, vector [][]byte) []byte {
	w := wire.NewWriter(evidenceVersion).
		String(string(suite)).
		Fixed(sid[:]).
		Uint16(uint16(from)).
		Uint16(uint16(to)).
		Fixed(d.share.Encode())
	writePoints(w, vector)
	return w.Var(d.sig).Bytes()
}

// VerifyEvidence returns the party that the evidence convicts of dealing a share
// that is not on the polynomial it committed to. verify checks the signature of
// a party's session key. An error means that the evidence convicts nobody.
func VerifyEvidence(evidence []byte, verify func(id mpc.ID, digest [32]byte, sig []byte) bool) (mpc.ID, error) {
	r := wire.NewReader(evidence, evidenceVersion)
	_, c := readSuite(r)
	var sid [32]byte
	r.Into("sid", sid[:])
	from, to := mpc.ID(r.Uint16("from")), mpc.ID(r.Uint16("to"))
	share := readScalar(r, c, "share")
	vector := readPoints(r, c, "feldman vector")
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
