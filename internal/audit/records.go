package audit

import (
	"crypto/ed25519"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/wire"
)

const (
	bootVersion     = 2
	keyVersion      = 1
	receiptECDSA    = 1
	receiptEd25519  = 2
	outcomeVersion  = 1
	incidentVersion = 1
	epochVersion    = 1
)

// Stages of an Outcome.
const (
	// StageReleased: the final share was authorised; from here on the attempt may
	// have led to a signature, whatever else is seen.
	StageReleased = "share-released"
	// StageAborted: this vault has not sent its final share and never will.
	StageAborted = "aborted"
)

// Boot says that the vault started.
type Boot struct {
	Vault    uint16
	Counter  uint64 // as in Checkpoint.Boot; grows by every start
	Software string // version of the vault's program
	Device   string // vendor and model of the HSM, as it named itself
	// Hash is the SHA-256 of that program, zeros when it wasn't known.
	Hash [32]byte
	// Isolation says what held the vault's process: "name: state; name: state".
	Isolation string
}

// Encode is the canonical encoding (docs/spec/log.md).
func (b *Boot) Encode() []byte {
	return wire.NewWriter(bootVersion).Uint16(b.Vault).Uint64(b.Counter).
		String(wire.CleanText(b.Software, maxName)).String(wire.CleanText(b.Device, maxName)).
		Fixed(b.Hash[:]).String(Clip(b.Isolation)).Bytes()
}

// DecodeBoot is the inverse of Encode.
func DecodeBoot(b []byte) (*Boot, error) {
	r := wire.NewReader(b, bootVersion)
	x := &Boot{Vault: r.Uint16("vault"), Counter: r.Uint64("counter"), Software: r.Text("software", maxName), Device: r.Text("device", maxName)}
	r.Into("software hash", x.Hash[:])
	x.Isolation = r.Text("isolation", maxText)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode boot: %w", err)
	}
	return x, nil
}

// KeyEntry says that a key came about: the certificate of its generation with
// the signatures of all n parties, and the order that an admin signed.
type KeyEntry struct {
	Key         [32]byte // key id
	Name        string   // wallet
	Certificate []byte   // dkg.Certificate
	Order       []byte   // governance.KeygenOrder
}

// Encode is the canonical encoding.
func (k *KeyEntry) Encode() []byte {
	return wire.NewWriter(keyVersion).Fixed(k.Key[:]).String(wire.CleanText(k.Name, maxName)).Var(k.Certificate).Var(k.Order).Bytes()
}

// DecodeKeyEntry is the inverse of Encode.
func DecodeKeyEntry(b []byte) (*KeyEntry, error) {
	r, k := wire.NewReader(b, keyVersion), new(KeyEntry)
	r.Into("key", k.Key[:])
	k.Name, k.Certificate, k.Order = r.Text("name", maxName), r.Var("certificate", maxBlob), r.Var("order", maxBlob)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode key entry: %w", err)
	}
	return k, nil
}

// Receipt is a signature that came about.
type Receipt struct {
	Attempt    [16]byte
	Request    [32]byte
	Key        [32]byte
	Unsigned   []byte // canonical, as in the Decisions
	Signatures []chain.Signature
	PublicKey  []byte // the wallet's: 33 bytes of secp256k1, compressed, or 32 of Ed25519
	TxID       string
}

// version is 1 for ECDSA, as it was when there was nothing else, and 2 for
// Ed25519: the version says how long the key is and that there is no recovery id.
func (x *Receipt) version() uint8 {
	if len(x.PublicKey) == ed25519.PublicKeySize {
		return receiptEd25519
	}
	return receiptECDSA
}

// Encode is the canonical encoding.
func (x *Receipt) Encode() []byte {
	v := x.version()
	w := wire.NewWriter(v).Fixed(x.Attempt[:]).Fixed(x.Request[:]).Fixed(x.Key[:]).Var(x.Unsigned)
	w.Count(len(x.Signatures))
	for i := range x.Signatures {
		w.Fixed(x.Signatures[i].R[:]).Fixed(x.Signatures[i].S[:])
		if v == receiptECDSA {
			w.Uint8(x.Signatures[i].RecoveryID)
		}
	}
	return w.Fixed(x.PublicKey).String(wire.CleanText(x.TxID, maxName)).Bytes()
}

// maxSignatures bounds a transaction's signatures: one an input on some chains.
const maxSignatures = 256

// DecodeReceipt is the inverse of Encode.
func DecodeReceipt(b []byte) (*Receipt, error) {
	v, keySize, sigSize := uint8(receiptECDSA), 33, 65
	if len(b) > 0 && b[0] == receiptEd25519 {
		v, keySize, sigSize = receiptEd25519, ed25519.PublicKeySize, ed25519.SignatureSize
	}
	r, x := wire.NewReader(b, v), new(Receipt)
	r.Into("attempt", x.Attempt[:])
	r.Into("request", x.Request[:])
	r.Into("key", x.Key[:])
	x.Unsigned = r.Var("unsigned", maxTx)
	for range r.Count("signatures", maxSignatures, sigSize) {
		var s chain.Signature
		r.Into("r", s.R[:])
		r.Into("s", s.S[:])
		if v == receiptECDSA {
			if s.RecoveryID = r.Uint8("recovery id"); s.RecoveryID > 3 {
				r.Failf("recovery id: %d, want 0 to 3", s.RecoveryID)
			}
		}
		x.Signatures = append(x.Signatures, s)
	}
	x.PublicKey = r.Fixed("public key", keySize)
	x.TxID = r.Text("transaction id", maxName)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode receipt: %w", err)
	}
	return x, nil
}

// Outcome is what became of an attempt at this vault.
type Outcome struct {
	Attempt  [16]byte
	Request  [32]byte
	Stage    string // StageReleased or StageAborted
	Detail   string
	Culprits []uint16 // ascending
	// Witnessed are the checkpoints of the peers' certificates on which the final
	// share was released, by ascending vault. They make every log a witness of
	// the others: a copy that is shorter than a peer knew it, or forked, is found.
	Witnessed []SignedCheckpoint
}

// Encode is the canonical encoding.
func (o *Outcome) Encode() []byte {
	w := wire.NewWriter(outcomeVersion).Fixed(o.Attempt[:]).Fixed(o.Request[:]).String(o.Stage).String(Clip(o.Detail))
	writeIDs(w, o.Culprits)
	w.Count(len(o.Witnessed))
	for i := range o.Witnessed {
		w.Var(o.Witnessed[i].Encode())
	}
	return w.Bytes()
}

// DecodeOutcome is the inverse of Encode.
func DecodeOutcome(b []byte) (*Outcome, error) {
	r, o := wire.NewReader(b, outcomeVersion), new(Outcome)
	r.Into("attempt", o.Attempt[:])
	r.Into("request", o.Request[:])
	o.Stage = r.String("stage", maxName)
	if o.Stage != StageReleased && o.Stage != StageAborted {
		r.Failf("stage: %q, want %q or %q", o.Stage, StageReleased, StageAborted)
	}
	o.Detail, o.Culprits = r.Text("detail", maxText), readIDs(r, "culprits")
	last := uint16(0)
	for range r.Count("witnessed", maxIDs, 4) {
		b := r.Var("witnessed", maxCheckpoint)
		if r.Err() != nil {
			break
		}
		cp, err := DecodeSignedCheckpoint(b)
		if err != nil {
			r.Fail(fmt.Errorf("witnessed: %w", err))
			break
		}
		if cp.Vault <= last {
			r.Failf("witnessed: vault %d after %d, want ascending", cp.Vault, last)
			break
		}
		o.Witnessed, last = append(o.Witnessed, *cp), cp.Vault
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode outcome: %w", err)
	}
	return o, nil
}

// Incident says that a peer misbehaved, or seemed to.
type Incident struct {
	Peer     uint16
	Class    string // mpc.Class, or what the vault itself found ("fork", "rollback")
	Step     string
	Detail   string
	Evidence []byte
}

// Encode is the canonical encoding.
func (i *Incident) Encode() []byte {
	return wire.NewWriter(incidentVersion).Uint16(i.Peer).String(wire.CleanText(i.Class, maxName)).String(wire.CleanText(i.Step, maxName)).
		String(Clip(i.Detail)).Var(i.Evidence).Bytes()
}

// DecodeIncident is the inverse of Encode.
func DecodeIncident(b []byte) (*Incident, error) {
	r := wire.NewReader(b, incidentVersion)
	i := &Incident{
		r.Uint16("peer"), r.Text("class", maxName), r.Text("step", maxName),
		r.Text("detail", maxText), r.Var("evidence", maxBlob),
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode incident: %w", err)
	}
	return i, nil
}

// EpochEntry says that a key went to its next epoch: its certificate with the
// signatures of all new parties, and the commit certificate that ended the epoch
// before (docs/spec/handover.md), whose plan names the change that ordered it.
type EpochEntry struct {
	Key         [32]byte
	Name        string // wallet
	Certificate []byte // dkg.Certificate
	Commit      []byte // handover.Bundle
}

// Encode is the canonical encoding.
func (e *EpochEntry) Encode() []byte {
	return wire.NewWriter(epochVersion).Fixed(e.Key[:]).String(wire.CleanText(e.Name, maxName)).Var(e.Certificate).Var(e.Commit).Bytes()
}

// DecodeEpochEntry is the inverse of Encode.
func DecodeEpochEntry(b []byte) (*EpochEntry, error) {
	r, e := wire.NewReader(b, epochVersion), new(EpochEntry)
	r.Into("key", e.Key[:])
	e.Name, e.Certificate, e.Commit = r.Text("name", maxName), r.Var("certificate", maxBlob), r.Var("commit certificate", maxBlob)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode epoch entry: %w", err)
	}
	return e, nil
}
