package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
	"github.com/cofferhq/coffer/mpc/pprf"
	"github.com/cofferhq/coffer/mpc/vole"
)

func otSubjects() []subject {
	return []subject{
		{name: "base-ot-choice", secret: "Δ", samples: 1500, open: baseOTChoice},
		{name: "ot-trees-puncture", secret: "Δ", samples: 3000, open: puncture},
		{name: "ot-extension-send", secret: "Δ", samples: 6000, open: extensionDelta},
		{name: "vole-send", secret: "Δ", samples: 1500, open: voleDelta},
		{name: "vole-receive", secret: "β", samples: 4000, open: voleReceive},
		{name: "vole-finish", secret: "β", samples: 2000, open: voleFinish},
	}
}

// baseOTChoice is Alice of the base OT, both evaluations of the hash to the curve
// and the choice between two points, 128 times.
func baseOTChoice() (func(int, int), func(), error) {
	_, m1, err := baseot.Start(source(1))
	if err != nil {
		return nil, nil, err
	}
	var stream [2][variants][]byte
	for class := range stream {
		for v := range stream[class] {
			s := make([]byte, 16+baseot.N*80) // Δ; then u and z of each OT
			r := source(uint64(100*class + v + 2))
			_, _ = r.Read(s)
			secretOf(class, r, s[:16])
			stream[class][v] = s
		}
	}
	in := make([]byte, len(stream[0][0]))
	return func(class, v int) { copy(in, stream[class][v]) }, func() {
		if _, _, err := baseot.Receive(bytes.NewReader(in), baseot.Instance{Sender: 1, Receiver: 2}, m1); err != nil {
			panic(err) // the inputs are ours
		}
	}, nil
}

// puncture is Alice of the trees: she lacks the leaf that Δ names, and hashes and
// moves all of them alike.
func puncture() (func(int, int), func(), error) {
	inst := baseot.Instance{Sender: 1, Receiver: 2}
	var seeds [2][variants]*baseot.ReceiverOutput
	var messages [2][variants]*pprf.Message
	for class := range seeds {
		for v := range seeds[class] {
			r := source(uint64(100*class + v))
			bob, alice := new(baseot.SenderOutput), new(baseot.ReceiverOutput)
			secretOf(class, r, alice.Delta[:])
			for i := range baseot.N {
				_, _ = r.Read(bob.K0[i][:])
				_, _ = r.Read(bob.K1[i][:])
				alice.K[i] = bob.K0[i]
				if alice.Delta[i/8]>>(i%8)&1 == 1 {
					alice.K[i] = bob.K1[i]
				}
			}
			_, m := pprf.Expand(inst, bob)
			seeds[class][v], messages[class][v] = alice, m
		}
	}
	var in baseot.ReceiverOutput
	var m pprf.Message
	return func(class, v int) { in, m = *seeds[class][v], *messages[class][v] }, func() {
		if _, err := pprf.Puncture(inst, &in, &m); err != nil {
			panic(err)
		}
	}, nil
}

// deal makes the trees of a pair, with the Δ of a class.
func deal(r *rand.ChaCha8, class int) (*pprf.Full, *pprf.Punctured) {
	bob, alice := new(pprf.Full), new(pprf.Punctured)
	secretOf(class, r, alice.Delta[:])
	for i := range bob.Leaf {
		for x := range bob.Leaf[i] {
			_, _ = r.Read(bob.Leaf[i][x][:])
		}
		block := int(alice.Delta[i/2]>>(4*(i%2))) & 15
		for z := 1; z < pprf.Leaves; z++ {
			alice.Leaf[i][z] = bob.Leaf[i][z^block]
		}
	}
	return bob, alice
}

// extensionDelta is Alice of the OT extension.
func extensionDelta() (func(int, int), func(), error) {
	dsid := [32]byte{1}
	var seeds [2][variants]*pprf.Punctured
	var messages [2][variants]*otext.Message
	for class := range seeds {
		for v := range seeds[class] {
			r := source(uint64(100*class + v))
			bob, alice := deal(r, class)
			_, m, err := otext.Receive(r, bob, dsid, 1)
			if err != nil {
				return nil, nil, err
			}
			seeds[class][v], messages[class][v] = alice, m
		}
	}
	var in pprf.Punctured
	var m otext.Message
	return func(class, v int) { in, m = *seeds[class][v], *messages[class][v] }, func() {
		if _, err := otext.Send(&in, dsid, &m); err != nil {
			panic(err)
		}
	}, nil
}

// one is Alice's input.
func one() [][2]*secp256k1.Scalar {
	return [][2]*secp256k1.Scalar{{secp256k1.NewScalar().SetUint64(1), secp256k1.NewScalar().SetUint64(1)}}
}

// voleDelta is Alice of the VOLE: extension, check, both pads of every column.
func voleDelta() (func(int, int), func(), error) {
	dsid := [32]byte{1}
	var seeds [2][variants]*pprf.Punctured
	var messages [2][variants]*vole.Message1
	for class := range seeds {
		for v := range seeds[class] {
			r := source(uint64(100*class + v))
			bob, alice := deal(r, class)
			_, m, err := vole.Receive(r, bob, dsid, 1)
			if err != nil {
				return nil, nil, err
			}
			seeds[class][v], messages[class][v] = alice, m
		}
	}
	var in pprf.Punctured
	var m vole.Message1
	r, a := source(7), one()
	return func(class, v int) { in, m = *seeds[class][v], *messages[class][v] }, func() {
		if _, _, err := vole.Send(r, &in, dsid, &m, a); err != nil {
			panic(err)
		}
	}, nil
}

// choices are Bob's random bytes, β first.
func choices() (x [2][variants][]byte) {
	for class := range x {
		for v := range x[class] {
			r := source(uint64(1000*class + v))
			x[class][v] = make([]byte, otext.Columns/8+otext.Tail/8)
			_, _ = r.Read(x[class][v])
			secretOf(class, r, x[class][v][:otext.Columns/8])
		}
	}
	return x
}

// voleReceive is Bob's first half: his choices enter the rows and χ.
func voleReceive() (func(int, int), func(), error) {
	x := choices()
	bob, _ := deal(source(7), 1)
	in := make([]byte, len(x[0][0]))
	return func(class, v int) { copy(in, x[class][v]) }, func() {
		if _, _, err := vole.Receive(bytes.NewReader(in), bob, [32]byte{1}, 1); err != nil {
			panic(err)
		}
	}, nil
}

// voleFinish is Bob's second half: his choices take what Alice offered.
func voleFinish() (func(int, int), func(), error) {
	x := choices()
	r := source(7)
	bob, alice := deal(r, 1)
	dsid := func(class, v int) (d [32]byte) {
		binary.BigEndian.PutUint16(d[:], uint16(class*variants+v))
		return d
	}
	var answers [2][variants]*vole.Message2
	for class := range x {
		for v := range x[class] {
			_, m1, err := vole.Receive(bytes.NewReader(x[class][v]), bob, dsid(class, v), 1)
			if err != nil {
				return nil, nil, err
			}
			if _, answers[class][v], err = vole.Send(r, alice, dsid(class, v), m1, one()); err != nil {
				return nil, nil, err
			}
		}
	}
	var receiver *vole.Receiver
	var m2 *vole.Message2
	prepare := func(class, v int) {
		var err error
		if receiver, _, err = vole.Receive(bytes.NewReader(x[class][v]), bob, dsid(class, v), 1); err != nil {
			panic(err)
		}
		m2 = answers[class][v]
	}
	return prepare, func() {
		if _, err := receiver.Finish(m2); err != nil {
			panic(err)
		}
	}, nil
}
