package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/dev"
)

// known is the address that the example policy's address book knows.
const known = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

func (d *demo) start(ctx context.Context) error {
	d.say("everything lives in %s and runs on this machine only", d.dir)
	c, err := dev.Start(ctx, dev.Options{
		Dir: d.dir, Binary: filepath.Join(d.bin, "coffer"),
		Say:      func(text string) { d.say("!! %s", text) },
		Progress: func(step string, took time.Duration) { d.say("%-48s %s", step, short(took)) },
	})
	if err != nil {
		return err
	}
	d.cluster = c
	if d.client, err = c.Client(); err != nil {
		return err
	}
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	d.check("three vaults run as three processes: "+c.Words(), separate(c))
	if _, missing := dev.Devices(); len(missing) > 0 {
		for _, err := range missing {
			d.say("not here: %v", err)
		}
	}
	d.check("each vault's node dialled out to the coordinator's embedded NATS broker, and every two vaults share a sealed channel", c.WaitReady(ctx))
	d.check("the broker takes nobody without credentials", strangerAtBroker(c.Broker))
	var version string
	err = c.Node.Do(ctx, &version, "web3_clientVersion")
	if err == nil && version == "" {
		err = fmt.Errorf("the node does not say what it is")
	}
	d.check(fmt.Sprintf("a real Ethereum node answers: %s, chain %d", version, c.Chain), err)
	return nil
}

// separate checks that the parties share no process and no token.
func separate(c *dev.Cluster) error {
	pids, tokens := map[int]string{}, map[string]string{}
	for _, p := range c.Processes() {
		if !p.Running() {
			return p.Failure()
		}
		if other, dup := pids[p.PID()]; dup {
			return fmt.Errorf("%s and %s are one process", p.Name, other)
		}
		pids[p.PID()] = p.Name
	}
	if want := 3*dev.Vaults + 2; len(pids) != want {
		return fmt.Errorf("%d processes, want %d", len(pids), want)
	}
	for _, p := range c.Parties {
		entries, err := os.ReadDir(p.Token)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return fmt.Errorf("the token of %s is empty", p.Name)
		}
		if other, dup := tokens[p.Token]; dup {
			return fmt.Errorf("%s and %s share a token", p.Name, other)
		}
		tokens[p.Token] = p.Name
	}
	return nil
}

// strangerAtBroker signs on without a key and must be sent away.
func strangerAtBroker(url string) error {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "nats://"), 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("CONNECT {\"verbose\":true}\r\nSUB > 1\r\nPING\r\n")); err != nil {
		return err
	}
	var all []byte
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		all = append(all, buf[:n]...)
		if strings.Contains(string(all), "Authorization Violation") {
			return nil
		}
		if strings.Contains(string(all), "+OK") || strings.Contains(string(all), "PONG") {
			return fmt.Errorf("it let a stranger in")
		}
		if err != nil {
			return fmt.Errorf("unexpected answer %q: %w", all, err)
		}
	}
}
