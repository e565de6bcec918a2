// Package noble lets FROST parties of the npm package @noble/curves sign together
// with those of mpc/frost, in one session, for every suite: an implementation that
// shares no line with ours. `make e2e` installs it, in the version of package.json.
package noble

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/group"
)

// process is party.mjs.
type process struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

func start(t *testing.T) *process {
	t.Helper()
	if _, err := os.Stat("node_modules"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node_modules is missing: npm ci in e2e/noble")
		}
		t.Skip("node_modules is missing: npm ci in e2e/noble")
	}
	cmd := exec.Command("node", "party.mjs")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &process{t, in, bufio.NewScanner(out)}
}

type (
	text map[string]any
	hexs = map[mpc.ID]string
)

type reply struct {
	Error, Hiding, Binding, Z, Sig string
	OK                             bool
}

func (p *process) call(op string, suite mpc.Suite, fields text) reply {
	p.t.Helper()
	fields["op"], fields["suite"] = op, suite
	line, err := json.Marshal(fields)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("%s: party.mjs has ended", op)
	}
	var r reply
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		p.t.Fatal(err)
	}
	if r.Error != "" {
		p.t.Fatalf("%s: %s", op, r.Error)
	}
	return r
}

// keygen runs our key generation.
func keygen(t *testing.T, suite mpc.Suite, parties []mpc.ID, threshold int) map[mpc.ID]*dkg.KeyShare {
	t.Helper()
	public, private := map[mpc.ID]ed25519.PublicKey{}, map[mpc.ID]ed25519.PrivateKey{}
	identities := map[mpc.ID][]byte{}
	for _, id := range parties {
		pub, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public[id], private[id], identities[id] = pub, priv, pub
	}
	verify := func(id mpc.ID, digest [32]byte, sig []byte) bool { return ed25519.Verify(public[id], digest[:], sig) }
	sessions := map[mpc.ID]*dkg.Session{}
	for _, id := range parties {
		s, err := dkg.New(dkg.Config{
			Suite: suite, Self: id, Parties: parties, Threshold: threshold, Purpose: "interoperation", AttemptID: [16]byte{1},
			Identities: identities, Sign: func(d [32]byte) []byte { return ed25519.Sign(private[id], d[:]) }, Verify: verify,
		}, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		sessions[id] = s
	}
	var last map[mpc.ID][]byte
	deal := map[mpc.ID]map[mpc.ID][]byte{}
	for r := range 4 {
		next := map[mpc.ID][]byte{}
		for _, id := range parties {
			in := map[mpc.ID][]byte{}
			for j, m := range last {
				if j != id {
					in[j] = m
				}
			}
			var err error
			switch s := sessions[id]; r {
			case 0:
				next[id], err = s.Round0()
			case 1:
				next[id], err = s.Round1(in)
			case 2:
				next[id], err = s.Round2(in)
			case 3:
				deal[id], err = s.Round3(in)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		last = next
	}
	keys := map[mpc.ID]*dkg.KeyShare{}
	var cert *dkg.Certificate
	for _, id := range parties {
		in := map[mpc.ID][]byte{}
		for _, j := range parties {
			if j != id {
				in[j] = deal[j][id]
			}
		}
		out, err := sessions[id].Finish(in)
		if err != nil {
			t.Fatal(err)
		}
		keys[id], cert = out.Share, out.Certificate
	}
	digest := cert.Digest()
	for _, id := range parties {
		if err := cert.AddSignature(id, ed25519.Sign(private[id], digest[:])); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range parties {
		if err := keys[id].Activate(cert, verify); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

// described is the key, as party.mjs wants it.
func described(k *dkg.KeyShare, root *string) text {
	shares := hexs{}
	for id, x := range k.PublicShares {
		shares[id] = hex.EncodeToString(x.Encode())
	}
	out := text{"publicKey": hex.EncodeToString(k.PublicKey.Encode()), "shares": shares, "threshold": k.Threshold, "total": len(k.Parties)}
	if root != nil {
		out["root"] = *root
	}
	return out
}

// session signs with signers of which those in theirs are noble's. It checks
// every share and the signature in both implementations.
func session(t *testing.T, p *process, suite mpc.Suite, keys map[mpc.ID]*dkg.KeyShare, signers []mpc.ID, theirs map[mpc.ID]bool, job frost.Job, root *string) {
	t.Helper()
	pub := frost.PublicOf(keys[signers[0]])
	key := described(keys[signers[0]], root)
	nonces := map[mpc.ID]*frost.Nonce{}
	var list []*frost.Commitment
	var listText []text
	for _, id := range signers {
		if theirs[id] {
			share := keys[id].Share()
			r := p.call("commit", suite, text{"key": key, "id": id, "share": hex.EncodeToString(share.Encode())})
			b, err := hex.DecodeString(r.Hiding + r.Binding)
			if err != nil {
				t.Fatal(err)
			}
			c, err := frost.DecodeCommitment(suite, id, b)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, c)
		} else {
			n, err := frost.NewNonce(keys[id], signers, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			nonces[id] = n
			list = append(list, n.Commitment())
		}
		b := list[len(list)-1].Bytes()
		listText = append(listText, text{"id": id, "hiding": hex.EncodeToString(b[:len(b)/2]), "binding": hex.EncodeToString(b[len(b)/2:])})
	}
	x, err := frost.NewPackage(pub, job, list)
	if err != nil {
		t.Fatal(err)
	}
	message := hex.EncodeToString(job.Message)
	shares, sharesText := map[mpc.ID]group.Scalar{}, hexs{}
	for _, id := range signers {
		var z group.Scalar
		if theirs[id] {
			r := p.call("sign", suite, text{"key": key, "id": id, "list": listText, "message": message})
			b, err := hex.DecodeString(r.Z)
			if err != nil {
				t.Fatal(err)
			}
			z = keys[id].Curve().NewScalar()
			if err := z.Decode(b); err != nil {
				t.Fatal(err)
			}
		} else if z, err = x.Sign(keys[id], nonces[id]); err != nil {
			t.Fatal(err)
		}
		if err := x.VerifyShare(id, z); err != nil {
			t.Errorf("we refuse the share: %v", err)
		}
		shares[id], sharesText[id] = z, hex.EncodeToString(z.Encode())
		r := p.call("verifyShare", suite, text{"key": key, "id": id, "list": listText, "message": message, "z": sharesText[id]})
		if !r.OK {
			t.Errorf("noble refuses the share of %d", id)
		}
	}
	sig, err := x.Aggregate(shares)
	if err != nil {
		t.Fatal(err)
	}
	verificationKey, err := pub.VerificationKey(job)
	if err != nil {
		t.Fatal(err)
	}
	r := p.call("aggregate", suite, text{"key": key, "list": listText, "message": message, "shares": sharesText})
	if r.Sig != hex.EncodeToString(sig) {
		t.Errorf("noble aggregates to %s, we to %x", r.Sig, sig)
	}
	r = p.call("verify", suite, text{"sig": hex.EncodeToString(sig), "message": message, "verificationKey": hex.EncodeToString(verificationKey)})
	if !r.OK {
		t.Error("noble refuses the signature")
	}
	flipped := bytes.Clone(sig)
	flipped[len(flipped)-1] ^= 1
	if p.call("verify", suite, text{"sig": hex.EncodeToString(flipped), "message": message, "verificationKey": hex.EncodeToString(verificationKey)}).OK {
		t.Error("noble accepts another signature")
	}
}

// TestOneSession mixes parties of both in sessions of two to four signers, half
// of them of each, keys of both parities, and with Taproot its tweaks.
func TestOneSession(t *testing.T) {
	p := start(t)
	empty, tree := "", hex.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for _, suite := range []mpc.Suite{mpc.FROSTEd25519, mpc.FROSTSecp256k1, mpc.FROSTSecp256k1TR} {
		t.Run(string(suite), func(t *testing.T) {
			p.t = t
			parities := map[byte]bool{}
			for try := 0; try < 4 || (suite == mpc.FROSTSecp256k1TR && len(parities) < 2); try++ {
				keys := keygen(t, suite, []mpc.ID{1, 2, 3, 7, 300}, 2+try%2)
				parities[keys[1].PublicKey.Encode()[0]] = true
				signers := [][]mpc.ID{{1, 2}, {2, 3, 300}, {3, 7}, {1, 2, 7, 300}}[try%4]
				job := frost.Job{Message: fmt.Appendf(make([]byte, 0, 32), "one session, message %11d", try)}
				for first := range 2 { // who of both comes first
					theirs := map[mpc.ID]bool{}
					for i, id := range signers {
						theirs[id] = i%2 == first
					}
					session(t, p, suite, keys, signers, theirs, job, nil)
					if suite != mpc.FROSTSecp256k1TR {
						continue
					}
					tweaked := job
					tweaked.Taproot = frost.KeyPath()
					session(t, p, suite, keys, signers, theirs, tweaked, &empty)
					tweaked.Taproot = frost.MerkleRoot([32]byte(bytes.Repeat([]byte{7}, 32)))
					session(t, p, suite, keys, signers, theirs, tweaked, &tree)
				}
			}
		})
	}
}

// TestSessionOfMessages puts a party of noble into a frost.Session: its
// commitments and its share go into messages laid out as docs/spec/frost.md says.
func TestSessionOfMessages(t *testing.T) {
	p := start(t)
	for _, suite := range []mpc.Suite{mpc.FROSTEd25519, mpc.FROSTSecp256k1, mpc.FROSTSecp256k1TR} {
		t.Run(string(suite), func(t *testing.T) {
			p.t = t
			keys := keygen(t, suite, []mpc.ID{1, 2, 3}, 2)
			key := described(keys[1], nil)
			terms := frost.Terms{Signers: []mpc.ID{1, 2}, AttemptID: [16]byte{1}, Jobs: []frost.Job{{Message: bytes.Repeat([]byte{5}, 32)}}}
			ours, err := frost.New(frost.Config{Terms: terms, Key: keys[1], Purpose: keys[1].Purpose}, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			r0 := map[mpc.ID][]byte{}
			if r0[1], err = ours.Round0(nil); err != nil {
				t.Fatal(err)
			}
			share := keys[2].Share()
			c := p.call("commit", suite, text{"key": key, "id": 2, "share": hex.EncodeToString(share.Encode())})
			points, err := hex.DecodeString(c.Hiding + c.Binding)
			if err != nil {
				t.Fatal(err)
			}
			const from, commitments = 44, 47 + 32 + 4
			r0[2] = bytes.Clone(r0[1])
			r0[2][from] = 2
			copy(r0[2][commitments:], points)
			shares := map[mpc.ID][]byte{}
			if shares[1], err = ours.Share(map[mpc.ID][]byte{2: r0[2]}); err != nil {
				t.Fatal(err)
			}
			own := r0[1][commitments : commitments+len(points)]
			list := []text{
				{"id": 1, "hiding": hex.EncodeToString(own[:len(own)/2]), "binding": hex.EncodeToString(own[len(own)/2:])},
				{"id": 2, "hiding": c.Hiding, "binding": c.Binding},
			}
			z := p.call("sign", suite, text{"key": key, "id": 2, "list": list, "message": hex.EncodeToString(terms.Jobs[0].Message)})
			b, err := hex.DecodeString(z.Z)
			if err != nil {
				t.Fatal(err)
			}
			shares[2] = bytes.Clone(shares[1])
			shares[2][from] = 2
			copy(shares[2][len(shares[2])-32:], b)
			out, err := ours.Combine(map[mpc.ID][]byte{2: shares[2]})
			if err != nil {
				t.Fatal(err)
			}
			outside, err := frost.Combine(frost.PublicOf(keys[3]), terms, r0, shares)
			if err != nil || !bytes.Equal(out[0], outside[0]) {
				t.Errorf("combined outside to %x, %v, inside to %x", outside, err, out)
			}
		})
	}
}
