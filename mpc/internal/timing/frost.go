package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

func frostSubjects() []subject {
	return []subject{
		frostShare("frost-ed25519-share", mpc.FROSTEd25519),
		frostShare("frost-secp256k1-share", mpc.FROSTSecp256k1),
		frostShare("frost-bip340-share", mpc.FROSTSecp256k1TR),
	}
}

// keysFor are the keys of both classes: one key, made anew for every variant, and
// different ones. With BIP-340 all have an even y: the sign is public, and what it
// costs is no leak.
func keysFor(suite mpc.Suite) (out [2][variants]map[mpc.ID]*dkg.KeyShare, err error) {
	next := 0
	draw := func(label string) (map[mpc.ID]*dkg.KeyShare, error) {
		keys, _, err := mpctest.KeysOf(suite, label, mpctest.IDs(2), 2)
		return keys, err
	}
	fresh := func() (label string, keys map[mpc.ID]*dkg.KeyShare, err error) {
		for {
			label = fmt.Sprintf("timing %d", next)
			next++
			keys, err = draw(label)
			if err != nil || suite != mpc.FROSTSecp256k1TR || keys[1].PublicKey.Encode()[0] == 2 {
				return label, keys, err
			}
		}
	}
	fixed, _, err := fresh()
	if err != nil {
		return out, err
	}
	for v := range variants {
		if out[0][v], err = draw(fixed); err != nil {
			return out, err
		}
		if _, out[1][v], err = fresh(); err != nil {
			return out, err
		}
	}
	return out, nil
}

// frostShare is a signer's share of a signature: its key share is the secret, the
// nonces are fresh.
func frostShare(name string, suite mpc.Suite) subject {
	return subject{name: name, secret: "key share", samples: 3000, open: func() (func(int, int), func(), error) {
		keys, err := keysFor(suite)
		if err != nil {
			return nil, nil, err
		}
		r := source(11)
		var key *dkg.KeyShare
		var nonce *frost.Nonce
		var pkg *frost.Package
		prepare := func(class, v int) {
			key = keys[class][v][1]
			if nonce, pkg, err = signing(key, keys[class][v][2], r); err != nil {
				panic(err) // the inputs are ours
			}
		}
		return prepare, func() {
			if _, err := pkg.Sign(key, nonce); err != nil {
				panic(err)
			}
		}, nil
	}}
}

func signing(one, two *dkg.KeyShare, r *rand.ChaCha8) (*frost.Nonce, *frost.Package, error) {
	nonce, err := frost.NewNonce(one, nil, r)
	if err != nil {
		return nil, nil, err
	}
	other, err := frost.NewNonce(two, nil, r)
	if err != nil {
		return nil, nil, err
	}
	message := make([]byte, 32)
	_, _ = r.Read(message)
	pkg, err := frost.NewPackage(frost.PublicOf(one), frost.Job{Message: message}, []*frost.Commitment{nonce.Commitment(), other.Commitment()})
	return nonce, pkg, err
}
