package derive_test

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/derive"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// Two of three parties sign ECDSA with the child of a key: the signature is the
// child's and nobody else's, and the path is part of what they agree on.
func TestSignWithAChild(t *testing.T) {
	keys, _, err := mpctest.Keys("derive sign", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	setups, err := mpctest.Pairs("derive pairs", mpctest.IDs(2))
	if err != nil {
		t.Fatal(err)
	}
	path, err := derive.ParsePath("m/44/60/0/0/7")
	if err != nil {
		t.Fatal(err)
	}
	child, err := derive.Key(keys[1], path)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(edit func(*dkls23.Config)) (*mpctest.Sign, *ecdsa.Signature, error) {
		s, err := mpctest.NewSign("derive", keys, setups, mpctest.IDs(2), func(cfg *dkls23.Config) {
			c, err := derive.Key(cfg.Key, path) // every signer by itself
			if err != nil {
				t.Fatal(err)
			}
			cfg.Tweak, cfg.Path = group.Secp256k1Scalar(c.Tweak), path.Encode()
			edit(cfg)
		})
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Run()
		return s, sig, err
	}
	s, sig, err := sign(func(*dkls23.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	message := s.Configs[1].MessageHash
	if err := ecdsa.Verify([33]byte(child.PublicKey.Encode()), message, sig); err != nil {
		t.Error(err)
	}
	if ecdsa.Verify([33]byte(keys[1].PublicKey.Encode()), message, sig) == nil {
		t.Error("the signature is the parent's too")
	}
	s, _, err = sign(func(cfg *dkls23.Config) {
		if cfg.Key.ID == 2 {
			cfg.Path = derive.Path{44, 60, 0, 0, 8}.Encode()
		}
	})
	if err == nil {
		t.Fatal("signers with different paths sign")
	}
	for _, err := range s.Errors {
		mpctest.WantAbort(t, err, mpc.Benign)
	}
}
