package dev

import (
	"context"
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/witness"
)

const (
	witnessStep = "a witness of the logs"
	witnessName = "witness.dev"
)

// startWitness starts an outside witness, and has every node show its log as tiles and
// ask the witness. Nodes that run do so when they are started again.
func (c *Cluster) startWitness(ctx context.Context) error {
	port, err := c.port("witness.port")
	if err != nil {
		return err
	}
	args := []string{"witness", "--dir", c.path("witness"), "--name", witnessName, "--listen", "127.0.0.1:" + port}
	for _, e := range c.Genesis.Enrolments {
		v := &e.Vault
		k := audit.Keys{Cluster: c.Genesis.Hash(), Vault: v.ID, Decision: v.Decision, Log: v.Log}
		c.LogKeys = append(c.LogKeys, k.NoteKey())
		args = append(args, "--log", k.NoteKey())
	}
	w, err := witness.Open(c.path("witness"), witnessName, c.LogKeys) // makes its key, once
	if err != nil {
		return err
	}
	c.WitnessKey = w.Cosigner().NoteKey()
	for _, p := range c.Parties {
		tiles, err := c.port(fmt.Sprintf("tiles-%d.port", p.ID))
		if err != nil {
			return err
		}
		c.LogURLs = append(c.LogURLs, fmt.Sprintf("http://127.0.0.1:%s/vault-%d", tiles, p.ID))
		p.show = fmt.Sprintf("tiles = %q\nwitnesses = [%q]\n", "127.0.0.1:"+tiles, "http://127.0.0.1:"+port+" "+c.WitnessKey)
		if err := p.Write(c.path("genesis")); err != nil {
			return err
		}
	}
	c.witnessArgs = args
	return c.restartWitness(ctx)
}

func (c *Cluster) restartWitness(context.Context) (err error) {
	c.Witness, err = start("witness", c.Dir, c.path("witness.log"), nil, c.Binary, c.witnessArgs...)
	return err
}
