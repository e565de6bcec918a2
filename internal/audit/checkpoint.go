package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// CheckpointDomain is the domain tag of the HSM's signature.
const CheckpointDomain = "coffer/checkpoint/v1"

const checkpointVersion, signedCheckpointVersion = 1, 1

// Checkpoint is what a vault states about itself at one moment: its log, its
// ledger of reservations, its quarantines, how often it started.
type Checkpoint struct {
	Cluster    [32]byte // genesis hash
	Vault      uint16
	Size       uint64 // entries of the log
	Root       [32]byte
	Ledger     [32]byte // head of the vault's own ledger
	Quarantine [32]byte // head of its quarantine records
	Boot       uint64   // how often the vault started
	Time       uint64   // unix milliseconds
}

// Origin names the log in C2SP's sense: unique to cluster and vault.
func (c *Checkpoint) Origin() string { return Origin(c.Cluster, c.Vault) }

// Origin is "coffer/", the first 8 bytes of the cluster's id in hex, "/vault-"
// and the vault's number.
func Origin(cluster [32]byte, vault uint16) string {
	return fmt.Sprintf("coffer/%x/vault-%d", cluster[:8], vault)
}

// Text is the checkpoint's text form (C2SP tlog-checkpoint): origin, size, root,
// and all other fields as extension lines. Both signatures are over it.
func (c *Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\ncluster %x\nledger %x\nquarantine %x\nboot %d\ntime %d\n",
		c.Origin(), c.Size, base64.StdEncoding.EncodeToString(c.Root[:]),
		c.Cluster, c.Ledger, c.Quarantine, c.Boot, c.Time)
}

// Statement is what the HSM's checkpoint key signs.
func (c *Checkpoint) Statement() signature.Statement {
	return signature.Statement{Domain: CheckpointDomain, Body: []byte(c.Text())}
}

// Encode is the canonical encoding (docs/spec/checkpoint.md).
func (c *Checkpoint) Encode() []byte {
	return wire.NewWriter(checkpointVersion).Fixed(c.Cluster[:]).Uint16(c.Vault).Uint64(c.Size).
		Fixed(c.Root[:]).Fixed(c.Ledger[:]).Fixed(c.Quarantine[:]).Uint64(c.Boot).Uint64(c.Time).Bytes()
}

// DecodeCheckpoint is the inverse of Encode.
func DecodeCheckpoint(b []byte) (*Checkpoint, error) {
	r, c := wire.NewReader(b, checkpointVersion), new(Checkpoint)
	r.Into("cluster", c.Cluster[:])
	if c.Vault = r.Uint16("vault"); c.Vault == 0 {
		r.Failf("vault: 0, want 1 or more")
	}
	if c.Size = r.Uint64("size"); c.Size > MaxSize {
		r.Failf("size: %d entries, at most %d", c.Size, uint64(MaxSize))
	}
	r.Into("root", c.Root[:])
	r.Into("ledger", c.Ledger[:])
	r.Into("quarantine", c.Quarantine[:])
	c.Boot, c.Time = r.Uint64("boot"), r.Uint64("time")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode checkpoint: %w", err)
	}
	return c, nil
}

// Keys are those under which a vault's checkpoints verify. They come from the
// genesis, never from the log or the peer that is being checked.
type Keys struct {
	Cluster  [32]byte
	Vault    uint16
	Decision signature.PublicKey // the HSM's checkpoint key
	Log      signature.PublicKey // the Ed25519 log key
}

// SignedCheckpoint carries two signatures: the HSM's over the Statement, and the
// log key's as a C2SP note has it, that is Ed25519 over the text itself. (The
// log key signs nothing else but cosigned texts, which begin otherwise, and 32-byte
// digests, and no text is 32 bytes long.)
type SignedCheckpoint struct {
	Checkpoint
	HSM signature.Signature
	Log signature.Signature
}

// Encode is the canonical encoding.
func (s *SignedCheckpoint) Encode() []byte {
	return wire.NewWriter(signedCheckpointVersion).Var(s.Checkpoint.Encode()).
		Var(s.HSM.Encode()).Var(s.Log.Encode()).Bytes()
}

// DecodeSignedCheckpoint is the inverse of Encode. It does not verify.
func DecodeSignedCheckpoint(b []byte) (*SignedCheckpoint, error) {
	r := wire.NewReader(b, signedCheckpointVersion)
	cp, hsm, log := r.Var("checkpoint", maxName), r.Var("hsm signature", signature.MaxSignature), r.Var("log signature", signature.MaxSignature)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode signed checkpoint: %w", err)
	}
	c, err := DecodeCheckpoint(cp)
	if err != nil {
		return nil, err
	}
	s := &SignedCheckpoint{Checkpoint: *c}
	if s.HSM, err = signature.Decode(hsm); err != nil {
		return nil, fmt.Errorf("hsm signature: %w", err)
	}
	if s.Log, err = signature.Decode(log); err != nil {
		return nil, fmt.Errorf("log signature: %w", err)
	}
	return s, nil
}

// Verify checks that this is a checkpoint of that vault in that cluster and that
// both signatures verify under its keys.
func (s *SignedCheckpoint) Verify(k Keys) error {
	if s.Cluster != k.Cluster || s.Vault != k.Vault {
		return fmt.Errorf("checkpoint is of %s, want %s", s.Origin(), Origin(k.Cluster, k.Vault))
	}
	if err := signature.Verify(k.Decision, s.Statement(), s.HSM); err != nil {
		return fmt.Errorf("checkpoint %s at size %d: HSM signature: %w", s.Origin(), s.Size, err)
	}
	if k.Log.Algorithm != signature.Ed25519 || s.Log.Algorithm != signature.Ed25519 ||
		len(k.Log.Key) != ed25519.PublicKeySize ||
		!ed25519.Verify(ed25519.PublicKey(k.Log.Key), []byte(s.Text()), s.Log.Bytes) {
		return fmt.Errorf("checkpoint %s at size %d: log key: %w under %v", s.Origin(), s.Size, signature.ErrInvalid, k.Log)
	}
	return nil
}

// Signature types of C2SP signed notes: 1 is Ed25519; 0xff is followed by a name
// of the implementer's own.
const (
	noteEd25519 = "\x01"
	noteOther   = "\xffcoffer/checkpoint/v1"
)

// Note is the signed note that a C2SP client opens with NoteKey. The HSM's
// signature is in it too, on a line that such a client skips.
func (s *SignedCheckpoint) Note(k Keys) string {
	var b strings.Builder
	b.WriteString(s.Text() + "\n")
	for _, l := range []struct {
		kind string
		key  signature.PublicKey
		sig  signature.Signature
	}{{noteEd25519, k.Log, s.Log}, {noteOther, k.Decision, s.HSM}} {
		id := noteKeyID(s.Origin(), l.kind+l.key.Key)
		fmt.Fprintf(&b, "— %s %s\n", s.Origin(), base64.StdEncoding.EncodeToString(append(id, l.sig.Bytes...)))
	}
	return b.String()
}

// NoteKey is the log key as C2SP clients take it: name+id+base64.
func (k Keys) NoteKey() string {
	name, key := Origin(k.Cluster, k.Vault), noteEd25519+k.Log.Key
	return fmt.Sprintf("%s+%x+%s", name, noteKeyID(name, key), base64.StdEncoding.EncodeToString([]byte(key)))
}

func noteKeyID(name, key string) []byte {
	h := sha256.Sum256([]byte(name + "\n" + key))
	return h[:4]
}
