package vaultshell

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
	"github.com/cofferhq/coffer/internal/hsm/tpm"
	"github.com/cofferhq/coffer/internal/signature"
)

// keeper is the operator of a TPM's cold key: a P-256 key that the key's policy names.
type keeper struct {
	key     *ecdsa.PrivateKey
	refuses atomic.Bool
	asked   atomic.Int32
}

func (k *keeper) Approve(_ context.Context, c hsm.Challenge) (hsm.Answer, error) {
	k.asked.Add(1)
	if k.refuses.Load() || c.Kind != hsm.ChallengePolicy || len(c.Keys) != 1 {
		return hsm.Answer{}, hsm.Errorf(hsm.ErrApproval, "", "the operator said no")
	}
	r, s, err := ecdsa.Sign(rand.Reader, k.key, c.Digest[:])
	if err != nil {
		return hsm.Answer{}, err
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	sig, err := signature.NormalizeP256(raw)
	return hsm.Answer{Approvals: []hsm.Approval{{Key: c.Keys[0], Signature: sig}}}, err
}

// startTPM is a party's helper with an emulated TPM whose cold key asks k.
func (p *party) startTPM(k *keeper) {
	p.t.Helper()
	e, err := swtpm.Start(p.t.Context(), filepath.Join(p.dir, "e"))
	if err != nil {
		p.t.Fatal(err)
	}
	raw, err := k.key.PublicKey.Bytes()
	if err != nil {
		p.t.Fatal(err)
	}
	uri := e.URI(filepath.Join(p.dir, "k")) + "&operator=" + signature.PublicKey{Algorithm: signature.P256, Key: string(raw)}.String()
	if err := tpm.Provision(p.t.Context(), uri); err != nil {
		p.t.Fatal(err)
	}
	dev, err := tpm.Open(p.t.Context(), uri)
	if err != nil {
		p.t.Fatal(err)
	}
	ln, err := remote.Listen(p.vcfg.HSM.Socket)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&remote.Server{Device: dev, Log: p.log, Operator: k}).Serve(ctx, ln)
	}()
	p.stopHSM = sync.OnceFunc(func() { cancel(); <-done; _ = dev.Close(); _ = e.Stop() })
	p.t.Cleanup(p.stopHSM)
}

// A cold wallet on TPMs: each use takes the operator's signature over the TPM's own
// challenge; and the ratchet goes on with it.
func TestColdOnTPM(t *testing.T) {
	if _, _, err := swtpm.Find(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	keepers := map[int]*keeper{}
	s := startSiteWith(t, 2, nil, func(s *site) {
		s.hsmOf = func(p *party) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			keepers[p.id] = &keeper{key: key}
			p.startTPM(keepers[p.id])
		}
	})
	s.ready(1, 2)
	s.world.Tier = governance.TierCold
	s.keygen()
	s.eventually("sign", func() error { return s.trySignWithin(quickly(t), 1, 2) })
	if keepers[1].asked.Load() == 0 || keepers[2].asked.Load() == 0 {
		t.Error("an operator was not asked")
	}
	keepers[2].refuses.Store(true)
	if err := s.trySignWithin(quickly(t), 1, 2); err == nil || !strings.Contains(err.Error(), "coffer hsm authorize") {
		t.Errorf("the operator said no: %v", err)
	}
	keepers[2].refuses.Store(false)
	s.eventually("sign again", func() error { return s.trySignWithin(quickly(t), 1, 2) })
	s.refresh()
	s.eventually("ratchet", func() error {
		if strings.Count(s.said.String(), "older copies of the disk do not open any more") < 2 {
			return errors.New("no word of it")
		}
		return nil
	})
	s.eventually("after the refresh", func() error { return s.trySignWithin(quickly(t), 1, 2) })
}
