package vault

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// key is a key share at rest in memory with its certificate.
type key struct {
	id      [32]byte
	name    string
	order   []byte
	made    making
	held    *held // nil: this vault holds no share any more
	cert    *dkg.Certificate
	imports imports
	moves   []uint64 // commands that wait for another custody tier
	lacks   uint64   // when the operator is told next that ledgers of the epoch before are missing; 0: none is
}

func (k *key) epoch() uint32 { return uint32(k.cert.Epoch) }

// scheme is what the key signs; 0 if no chain takes it.
func (k *key) scheme() chain.Scheme {
	s, _ := chain.SchemeOf(k.cert.Suite) // 0 verifies nothing and serves no codec
	return s
}

func (k *key) publicKey() []byte { return k.cert.PublicKey().Encode() }

const recordVersion = 3 // of the records that hold a share

// keyRecord is a key on disk. The share's bytes are secret: the record is sealed
// and the buffer wiped.
func encodeKeyRecord(order []byte, h *held, cert *dkg.Certificate) []byte {
	w := wire.NewWriter(recordVersion).Var(order).Var(cert.Encode())
	h.write(w)
	return w.Bytes()
}

func decodeKeyRecord(b []byte) (order []byte, h *held, cert *dkg.Certificate, err error) {
	r := wire.NewReader(b, recordVersion)
	order = r.Var("order", cluster.MaxBody)
	c := r.Var("certificate", 1<<16)
	h = readHeld(r)
	if err := r.Done(); err != nil {
		h.destroy()
		return nil, nil, nil, err
	}
	cert, err = dkg.DecodeCertificate(c)
	return order, h, cert, err
}

func (v *Vault) loadKeys(records map[string][]byte) error {
	for name, b := range records {
		if !strings.HasPrefix(name, recordKey) && !strings.HasPrefix(name, recordPending) {
			continue
		}
		order, h, cert, err := decodeKeyRecord(b)
		clear(b)
		if err != nil {
			return fmt.Errorf("record %s: %w", name, err)
		}
		o, err := governance.DecodeKeygenOrder(order)
		if err != nil {
			return fmt.Errorf("record %s: %w", name, err)
		}
		if hexed, ok := strings.CutPrefix(name, recordPending); ok {
			var a [16]byte
			if n, err := hex.Decode(a[:], []byte(hexed)); err != nil || n != len(a) {
				return fmt.Errorf("record %s has no attempt's name", name)
			}
			v.pending[a] = &pendingKey{o.Name, order, h, cert}
			continue
		}
		if m := v.machines[cert.KeyID()]; m != nil && m.Epoch() != nil && m.Epoch().Number != cert.Epoch {
			h.destroy() // of an ended epoch; the present one has a record of its own
			continue
		}
		if err := h.activate(cert, v.verifyCertificate); err != nil {
			return fmt.Errorf("record %s: %w", name, err)
		}
		v.keys[cert.KeyID()] = &key{id: cert.KeyID(), name: o.Name, order: order, made: madeBy(o), held: h, cert: cert}
	}
	return nil
}

// CertificateStatement is what a party's HSM identity signs to say that a key
// was generated as the certificate states.
func CertificateStatement(digest [32]byte) signature.Statement {
	return signature.Statement{Domain: "coffer/key-certificate/v1", Body: digest[:]}
}

// verifyCertificate checks a party's signature on a key's certificate, which
// outlives the device that made it.
func (v *Vault) verifyCertificate(id mpc.ID, digest [32]byte, sig []byte) bool {
	return v.gov.SignedByIdentity(uint16(id), CertificateStatement(digest), sig)
}

// keygenSession is one run of the DKG.
type keygenSession struct {
	attempt [16]byte
	command uint64
	started uint64
	order   *governance.KeygenOrder
	parties []mpc.ID
	peers   []mpc.ID
	run     *dkg.Session
	round   uint8 // what is being waited for: 0…3 the protocol's, 4 signatures on the certificate
	got     [5]map[mpc.ID][]byte
	out     *dkg.Output
	signed  bool // this party's own signature is in
}

func (s *keygenSession) has(id mpc.ID) bool { return containsID(s.peers, id) }

func (s *keygenSession) waitingFor() string {
	return fmt.Sprintf("D%d of %v", s.round, missing(s.peers, s.got[min(int(s.round), 4)]))
}

func missing[T any](peers []mpc.ID, got map[mpc.ID]T) []mpc.ID {
	var out []mpc.ID
	for _, id := range peers {
		if _, ok := got[id]; !ok {
			out = append(out, id)
		}
	}
	return out
}

func containsID(ids []mpc.ID, id mpc.ID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

// keygen handles the command.
func (v *Vault) keygen(id uint64, c *cluster.Command) {
	order, err := governance.DecodeKeygenOrder(c.Body)
	if err != nil {
		v.refuse(id, refusal.New("keygen.order", "", "the order does not decode: "+err.Error(), "a canonical keygen order"))
		return
	}
	if k := v.keyOfOrder(c.Body); k != nil {
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone, Body: k.cert.Encode()})
		return
	}
	if done := v.completePending(id, c); done {
		return
	}
	if err := v.gov.CheckKeygen(order, v.now); err != nil {
		v.refuse(id, refusal.As(err))
		return
	}
	if err := v.checkNewKey(order); err != nil {
		v.refuse(id, err)
		return
	}
	if err := v.startKeygen(id, c, order); err != nil {
		v.reply(id, abortReply(asAbort("keygen", err)))
	}
}

func (v *Vault) keyOfOrder(order []byte) *key {
	for _, k := range v.keys {
		if string(k.order) == string(order) {
			return k
		}
	}
	return nil
}

func (v *Vault) keyNamed(name string) *key {
	for _, k := range v.keys {
		if k.name == name {
			return k
		}
	}
	return nil
}

func (v *Vault) checkNewKey(o *governance.KeygenOrder) *refusal.Refusal {
	if v.keyNamed(o.Name) != nil {
		return refusal.New("keygen.name", "", fmt.Sprintf("a wallet named %q exists already", o.Name), "another name")
	}
	if r := v.checkTier(o.Tier); r != nil {
		return r
	}
	n, t := len(o.Parties), int(o.Threshold)
	if 2*t <= n {
		return refusal.New("keygen.threshold", "", fmt.Sprintf("%d of %d: two sets of signers need not share a vault, so limits and versions could not be exact", t, n), fmt.Sprintf("a threshold of at least %d", n/2+1))
	}
	if !containsID(toIDs(o.Parties), v.cfg.ID) {
		return refusal.New("keygen.parties", "", fmt.Sprintf("vault %d is not one of the parties %v", v.cfg.ID, o.Parties), "the order goes to the parties it names")
	}
	return nil
}

func toIDs(in []uint16) []mpc.ID {
	out := make([]mpc.ID, len(in))
	for i, id := range in {
		out[i] = mpc.ID(id)
	}
	return out
}

func fromIDs(in []mpc.ID) []uint16 {
	out := make([]uint16, len(in))
	for i, id := range in {
		out[i] = uint16(id)
	}
	return out
}

func (v *Vault) startKeygen(id uint64, c *cluster.Command, o *governance.KeygenOrder) error {
	if err := v.mayReserve(toIDs(o.Parties), int(o.Threshold)); err != nil {
		return err
	}
	if err := v.mayBegin(c.Attempt, o.Name); err != nil {
		return err
	}
	s := &keygenSession{attempt: c.Attempt, command: id, started: v.now, order: o, parties: toIDs(o.Parties)}
	identities := map[mpc.ID][]byte{v.cfg.ID: v.cfg.Identity.Bytes()}
	for _, pid := range s.parties {
		if pid == v.cfg.ID {
			continue
		}
		p, err := v.partner(pid)
		if err != nil {
			return err
		}
		identities[pid] = p.identity.Bytes()
		s.peers = append(s.peers, pid)
	}
	for i := range s.got {
		s.got[i] = map[mpc.ID][]byte{}
	}
	var err error
	s.run, err = dkg.New(dkg.Config{
		Suite: governance.SuiteOf(o.Purpose), Self: v.cfg.ID, Parties: s.parties, Threshold: int(o.Threshold), Purpose: o.Purpose, AttemptID: c.Attempt,
		Identities: identities,
		Sign: func(d [32]byte) []byte {
			return v.signSession(dkgStatement(d)).Bytes
		},
		Verify: v.verifyDealt,
	}, v.rand)
	if err != nil {
		return err
	}
	b, err := s.run.Round0()
	if err != nil {
		return err
	}
	v.keygens[c.Attempt], v.begun[c.Attempt] = s, true
	v.broadcast(innerKeygen, s.attempt, 0, s.peers, b, nil)
	v.replayEarly(innerKeygen, s.attempt)
	return nil
}

// Bounds of what a coordinator can cause with one order of an admin.
const (
	maxKeygens = 8       // at once
	maxBegun   = 1 << 16 // since a start
)

// mayBegin: an attempt runs once, or peers would see two messages of one round;
// and one name is generated once at a time. A vault that takes part in a second
// generation of a name has ended the first and activated none, so that of two
// only one ever gets all signatures.
func (v *Vault) mayBegin(attempt [16]byte, name string) error {
	if v.begun[attempt] || v.pending[attempt] != nil {
		return errors.New("this attempt was used before: take a fresh attempt id")
	}
	for _, a := range sortedAttempts(v.keygens) {
		if v.keygens[a].order.Name == name {
			return fmt.Errorf("a generation of wallet %q runs already", name)
		}
	}
	if len(v.keygens) >= maxKeygens || len(v.begun) >= maxBegun {
		return fmt.Errorf("%d key generations run and %d were begun since the start: end some, or restart the vault", len(v.keygens), len(v.begun))
	}
	return nil
}

// verifyDealt checks a peer's signature on a share that it dealt.
func (v *Vault) verifyDealt(id mpc.ID, d [32]byte, sig []byte) bool {
	p := v.peers[id]
	s := signature.Signature{Algorithm: signature.Ed25519, Bytes: sig}
	return p != nil && p.hello != nil && signature.Verify(p.hello.Session, dkgStatement(d), s) == nil
}

func dkgStatement(d [32]byte) signature.Statement {
	return signature.Statement{Domain: "coffer/dkg-evidence/v1", Body: d[:]}
}

// broadcast sends one signed broadcast, and each peer's private part, sealed.
func (v *Vault) broadcast(kind uint8, attempt [16]byte, round uint8, peers []mpc.ID, b []byte, private map[mpc.ID][]byte) {
	var sig signature.Signature
	if len(b) > 0 {
		sig = v.signSession(v.broadcastStatement(kind, attempt, round, v.cfg.ID, b))
	}
	v.spoil(kind, round, private)
	for _, id := range peers {
		v.sendSealed(v.peers[id], &inner{Kind: kind, Attempt: attempt, Round: round, Broadcast: b, Signature: sig, Private: private[id]})
	}
}

// onKeygen takes a peer's message of a DKG.
func (v *Vault) onKeygen(p *peer, in *inner) {
	s := v.keygens[in.Attempt]
	if s == nil {
		v.keepEarly(p, in)
		return
	}
	if !s.has(p.id) || in.Round > 4 {
		return
	}
	msg := in.Broadcast
	if in.Round >= 3 {
		msg = in.Private
	}
	if old, dup := s.got[in.Round][p.id]; dup {
		if string(old) != string(msg) {
			v.abortKeygen(s, &mpc.Abort{Class: mpc.Attributed, Culprits: []mpc.ID{p.id}, Step: fmt.Sprintf("keygen D%d", in.Round), Err: errors.New("two different messages of one round")})
		}
		return
	}
	s.got[in.Round][p.id] = msg
	v.advanceKeygen(s)
}

// advanceKeygen runs the rounds whose messages are all there.
func (v *Vault) advanceKeygen(s *keygenSession) {
	for v.keygens[s.attempt] == s && s.round < 4 && len(s.got[s.round]) == len(s.peers) {
		var b []byte
		var private map[mpc.ID][]byte
		var err error
		switch s.round {
		case 0:
			b, err = s.run.Round1(s.got[0])
		case 1:
			b, err = s.run.Round2(s.got[1])
		case 2:
			private, err = s.run.Round3(s.got[2])
		case 3:
			s.out, err = s.run.Finish(s.got[3])
		}
		if err != nil {
			v.abortKeygen(s, asAbort("keygen", err))
			return
		}
		s.round++
		if s.round < 4 {
			v.broadcast(innerKeygen, s.attempt, s.round, s.peers, b, private)
			for _, m := range private {
				secret.Wipe(m)
			}
		} else if err := v.certify(s); err != nil {
			v.abortKeygen(s, asAbort("keygen", err))
			return
		}
	}
	if s.round == 4 && s.signed {
		v.finishKeygen(s)
	}
}

// certify has the HSM sign the certificate; the share is on disk, pending,
// before the signature leaves.
func (v *Vault) certify(s *keygenSession) error {
	// No earlier generation of this name was activated anywhere, nor can one be
	// (mayBegin): what is left of it goes.
	v.dropPending(s.order.Name)
	v.keep(s.out.Share, false, s.order.Tier, func(h *held, err error) {
		switch {
		case v.keygens[s.attempt] != s:
			h.destroy()
			return
		case err == nil:
			err = v.certifyHeld(s, h)
		}
		if err != nil {
			v.abortKeygen(s, asAbort("keygen certificate", err))
		}
	})
	return nil
}

func (v *Vault) certifyHeld(s *keygenSession, h *held) error {
	pending := encodeKeyRecord(s.order.Encode(), h, s.out.Certificate)
	err := v.store.put(pendingName(s.attempt), pending)
	clear(pending)
	if err != nil {
		return err
	}
	v.pending[s.attempt] = &pendingKey{s.order.Name, s.order.Encode(), h, s.out.Certificate}
	v.ask(DeviceCommand{Kind: DeviceSign, Role: roleIdentity, Statement: CertificateStatement(s.out.Certificate.Digest())}, func(res DeviceResult) error {
		if v.keygens[s.attempt] != s {
			return nil
		}
		if res.Err != "" {
			v.abortKeygen(s, benign("keygen certificate", errors.New("the device does not sign: "+res.Err)))
			return nil
		}
		sig := res.Signature.Encode()
		if err := s.out.Certificate.AddSignature(v.cfg.ID, sig); err != nil {
			v.abortKeygen(s, asAbort("keygen certificate", err))
			return nil
		}
		s.signed = true
		private := map[mpc.ID][]byte{}
		for _, id := range s.peers {
			private[id] = sig
		}
		v.broadcast(innerKeygen, s.attempt, 4, s.peers, nil, private)
		v.finishKeygen(s)
		return nil
	})
	return nil
}

// finishKeygen activates the key once all n have signed the same certificate.
func (v *Vault) finishKeygen(s *keygenSession) {
	if len(s.got[4]) < len(s.peers) {
		return
	}
	digest := s.out.Certificate.Digest()
	for _, id := range s.peers {
		if !v.verifyCertificate(id, digest, s.got[4][id]) {
			v.abortKeygen(s, &mpc.Abort{Class: mpc.Attributed, Culprits: []mpc.ID{id}, Step: "keygen certificate", Err: errors.New("its signature on the certificate does not verify")})
			return
		}
		if err := s.out.Certificate.AddSignature(id, s.got[4][id]); err != nil {
			v.abortKeygen(s, asAbort("keygen certificate", err))
			return
		}
	}
	v.endKeygen(s)
	v.activate(s.command, s.attempt, &pendingKey{s.order.Name, s.order.Encode(), v.pending[s.attempt].held, s.out.Certificate})
}

// activate makes a key usable: on disk, in the log, then known.
func (v *Vault) activate(command uint64, attempt [16]byte, p *pendingKey) {
	order, name, cert := p.order, p.name, p.cert
	if k := v.keyNamed(name); k != nil {
		v.refuse(command, refusal.New("keygen.name", "", fmt.Sprintf("a wallet named %q exists already, with key id %x", name, k.id[:8]), "another name"))
		return
	}
	o, err := governance.DecodeKeygenOrder(order)
	if err == nil {
		err = p.held.activate(cert, v.verifyCertificate)
	}
	if err != nil {
		v.reply(command, failed(err))
		return
	}
	k := &key{id: cert.KeyID(), name: name, order: order, made: madeBy(o), held: p.held, cert: cert}
	if err := v.storeShare(k); err != nil {
		v.reply(command, failed(err))
		return
	}
	delete(v.pending, attempt) // its share is the key's now
	v.store.remove(pendingName(attempt))
	v.dropPending(name)
	v.keys[k.id] = k
	entry := audit.KeyEntry{Key: k.id, Name: name, Certificate: cert.Encode(), Order: order}
	v.appendLog(audit.KindKey, entry.Encode())
	commands := []uint64{command}
	if s := v.keygens[attempt]; s != nil { // the certificate came from outside first
		v.endKeygen(s)
		commands = append(commands, s.command)
	}
	v.covered(func(_ *audit.SignedCheckpoint, err error) {
		for _, id := range commands {
			if err != nil {
				v.reply(id, failed(err))
			} else {
				v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone, Body: cert.Encode()})
			}
		}
	})
}

func pendingName(attempt [16]byte) string { return recordPending + fmt.Sprintf("%x", attempt) }

// dropPending wipes the shares of a name that can never be activated any more.
func (v *Vault) dropPending(name string) {
	for _, a := range sortedAttempts(v.pending) {
		if p := v.pending[a]; p.name == name {
			p.held.destroy()
			delete(v.pending, a)
			v.store.remove(pendingName(a))
		}
	}
}

// endKeygen forgets a session and wipes what its peers sent: their parts of this
// vault's share are among it.
func (v *Vault) endKeygen(s *keygenSession) {
	delete(v.keygens, s.attempt)
	s.run.Destroy()
	for i := range s.got {
		for _, m := range s.got[i] {
			secret.Wipe(m)
		}
	}
}

func (v *Vault) abortKeygen(s *keygenSession, a *mpc.Abort) {
	if v.keygens[s.attempt] != s {
		return
	}
	v.endKeygen(s)
	v.blame(a)
	v.reply(s.command, abortReply(a))
}
