// Command attacker is a dishonest coordinator. It holds what the real one holds,
// its credentials of the broker and the messages that people signed, and nothing
// else, and tries against running vaults what such a thief would. It reads an
// order as JSON from its standard input and prints what the vaults answered.
//
// It uses no switch of the product: the vaults see commands like any other.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Order is what the thief knows.
type Order struct {
	Genesis     string // file
	Broker      string // URL
	Credentials string // secret URI of the coordinator's user
	Own         string // the thief's address
	Nonce       uint64 // the wallet's next nonce on the chain
	Approved    Papers // a payment that people asked for and approved
	Race        Papers // a second payment that people approved
	Unapproved  Papers // another one, which nobody approved
}

// Papers are what people handed to the coordinator for one request, base64url.
type Papers struct {
	Request, Key, Signature string
	Approvals               []string
}

// Result is what became of one attack.
type Result struct {
	Name    string
	Attempt string // hex
	Answers []Answer
}

// Answer is one vault's.
type Answer struct {
	Vault                uint16
	Outcome              string
	Code, Rule           string
	Detail, Fix          string
	Failed               string // there was no reply
	Certified, HasOutput bool
}

// limit bounds the whole run; a vault gives a session up after seconds.
const limit = 90 * time.Second

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o Order
	dec := json.NewDecoder(os.Stdin)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	t, err := newThief(ctx, &o)
	if err != nil {
		return err
	}
	defer t.transport.Close()
	results, err := t.attacks(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}
