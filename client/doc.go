// Package client is the Go SDK of Coffer: it builds requests, signs them with a
// person's key, and talks to a coordinator's HTTP API (docs/spec/api.md).
//
//	c, err := client.New("http://127.0.0.1:8420", token)
//	cluster, err := c.Cluster(ctx)
//	wallet, err := c.Wallet(ctx, "treasury")
//	draft, err := client.NewTransfer(cluster, wallet, "eip155:31337", "0x…", "0.1 ETH")
//	alice, err := client.LoadSigner("alice.key")
//	proposal, err := alice.Propose(draft)
//	r, err := c.Propose(ctx, proposal)
//	r, err = c.Wait(ctx, r.ID, time.Minute)
//
// The coordinator is not trusted: what a person signs is decoded here, from the
// bytes that get signed (Decode, DecodeChange), never from what the coordinator
// says about them. What it says about states, receipts and vaults is its word;
// `coffer log verify` is the proof.
//
// It does not decide anything: every vault verifies the signatures itself.
package client
