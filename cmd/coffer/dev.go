package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/dev"
	"github.com/cofferhq/coffer/internal/governance"
)

// devOptions are dev's flags.
type devOptions struct {
	keep, rpc, module, pin string
	devices                []string
	cooling                time.Duration
}

func devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster on this machine until Ctrl-C",
		Long:  "Starts three vaults with a token and a node each, a coordinator, a risk engine and an Ethereum node, makes a wallet with play money, and keeps them running. Everybody's keys lie in one folder: it protects nothing.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runDev(cmd.Context(), cmd.OutOrStdout(), &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.keep, "keep", "", "folder to keep the cluster in; the same one again goes on with it (default: a temporary folder)")
	f.StringVar(&o.rpc, "rpc", "", "URL of a chain node of your own, instead of anvil; it must be one of a test network")
	f.StringVar(&o.module, "pkcs11", "", "PKCS#11 module of your own, with tokens coffer-vault-1 to 3, instead of --device")
	f.StringArrayVar(&o.devices, "device", nil, "kind of the vaults' devices: softhsm, tpm or software; several are taken in turn (default: every kind that this machine has)")
	f.DurationVar(&o.cooling, "cooling", 0, "how long a change waits that is not proven to tighten; the first start of a folder decides it")
	f.StringVar(&o.pin, "pin", "", "file with the PIN of those tokens")
	return cmd
}

// check finds flags that do not fit together.
func (o *devOptions) check() error {
	switch {
	case o.module != "" && o.pin == "":
		return &usageError{errors.New("--pkcs11: add --pin FILE with the tokens' PIN")}
	case o.module != "" && len(o.devices) > 0:
		return &usageError{errors.New("--pkcs11, --device: give one of them")}
	case o.cooling < 0 || o.cooling > governance.MaxCooling*time.Millisecond:
		return &usageError{fmt.Errorf("--cooling %s: want 0 to 720h", o.cooling)}
	case o.module == "" && o.pin != "":
		return &usageError{errors.New("--pin: it is the PIN of a device of your own; add --pkcs11 MODULE")}
	}
	return nil
}

func runDev(ctx context.Context, w io.Writer, o *devOptions) (err error) {
	binary, err := selfPath()
	if err != nil {
		return err
	}
	opts := dev.Options{
		Binary: binary, RPC: o.rpc, Module: o.module, PIN: o.pin, Devices: o.devices, Cooling: o.cooling, Logs: true,
		Say: func(text string) { fmt.Fprintf(w, "\n  !! %s\n\n", text) },
		Progress: func(step string, took time.Duration) {
			fmt.Fprintf(w, "  %-48s %s\n", step, took.Round(time.Millisecond))
		},
	}
	if err := o.check(); err != nil {
		return err
	}
	if o.keep != "" {
		if opts.Dir, err = filepath.Abs(o.keep); err != nil {
			return err
		}
		lock, err := claim(opts.Dir)
		if err != nil {
			return err
		}
		defer lock.Close()
	} else {
		if opts.Dir, err = os.MkdirTemp("", "coffer-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(opts.Dir)) }()
	}
	if o.rpc != "" {
		if opts.Chain, err = chainOf(ctx, o.rpc); err != nil {
			return fmt.Errorf("--rpc: %w", err)
		}
	}
	fmt.Fprintf(w, "starting a cluster in %s\n", opts.Dir)
	c, err := dev.Start(ctx, opts)
	if err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C while it was starting
		}
		return explainDev(err)
	}
	defer func() {
		c.Stop()
		fmt.Fprintln(w, "stopped")
	}()
	if err := setUp(ctx, w, c); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	printNext(w, c)
	printLogs(w, c)
	return watch(ctx, w, c)
}

// chainOf asks a node which chain it is on.
func chainOf(ctx context.Context, url string) (uint64, error) {
	n, err := rpc.New(url, 1)
	if err != nil {
		return 0, err
	}
	id, err := n.ChainID(ctx)
	var other *rpc.WrongChainError
	switch {
	case errors.As(err, &other):
		return other.Got, nil
	case err == nil && id == 1:
		return 0, errors.New("this node is on Ethereum's main chain: a development cluster protects nothing")
	}
	return id, err
}

func explainDev(err error) error {
	if errors.Is(err, devnode.ErrMissing) {
		return withHint(err, "make tools   (or give a node of your own: coffer dev --rpc URL)")
	}
	return err
}

// setUp makes the first wallet and gives it play money.
func setUp(ctx context.Context, w io.Writer, c *dev.Cluster) error {
	began := time.Now()
	cl, err := c.Client()
	if err != nil {
		return err
	}
	ws, err := cl.Wallets(ctx)
	if err != nil {
		return err
	}
	if len(ws) == 0 {
		info, err := cl.Cluster(ctx)
		if err != nil {
			return err
		}
		order, err := c.Order(info, "alice", client.KeyOptions{Name: "treasury", Threshold: 2})
		if err != nil {
			return err
		}
		made, err := cl.CreateWallet(ctx, order)
		if err != nil {
			return err
		}
		ws = []client.Wallet{*made}
		fmt.Fprintf(w, "  %-48s %s\n", "wallet treasury: its key is split in three", time.Since(began).Round(time.Millisecond))
	}
	if c.Anvil == nil {
		return nil
	}
	account, err := evm.ParseAddress(treasury(ws).Addresses[evm.ChainName(c.Chain)])
	if err != nil {
		return err
	}
	wei, err := amount.Parse("100 ETH", amount.Ether...)
	if err != nil {
		return err
	}
	if err := c.Anvil.SetBalance(ctx, account, wei); err != nil {
		return err
	}
	tokens, err := amount.Parse("1000000 TEST", amount.Unit{Symbol: devnode.TokenSymbol, Decimals: devnode.TokenDecimals})
	if err != nil {
		return err
	}
	if code, err := c.Node.Code(ctx, firstDeployed); err != nil || len(code) > 0 {
		return err // the kept chain has it already
	}
	_, err = c.Anvil.DeployToken(ctx, account, tokens)
	return err
}

// treasury is the wallet that coffer dev made; a kept cluster may have others.
func treasury(ws []client.Wallet) client.Wallet {
	for _, w := range ws {
		if w.Name == "treasury" {
			return w
		}
	}
	return ws[0]
}

// firstDeployed is the address that anvil's first contract gets, which the
// example policy names.
var firstDeployed = func() evm.Address {
	a, err := evm.ParseAddress("0x5FbDB2315678afecb367f032d93F642f64180aa3")
	if err != nil {
		panic(err) // a constant of this program
	}
	return a
}()

func printNext(w io.Writer, c *dev.Cluster) {
	cl, err := c.Client()
	address := ""
	if err == nil {
		if ws, err := cl.Wallets(context.Background()); err == nil && len(ws) > 0 {
			address = treasury(ws).Addresses[evm.ChainName(c.Chain)]
		}
	}
	h := c.Genesis.Hash()
	money := ", which has 100 ETH and 1000000 TEST of play money"
	if c.Anvil == nil {
		money = ": send it some test money"
	}
	fmt.Fprintf(w, `
ready. %s
chain %d at %s, API %s
wallet treasury is %s%s

In another terminal:

  export COFFER_HOME=%s PATH="%s:$PATH"
  coffer propose --as bot --to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --amount "0.1 ETH"   # small, to a known address: signed at once
  coffer propose --as bot --to 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC --amount "2 ETH"     # waits for two approvals
  coffer status
  coffer approve REQUEST --as bob
  coffer approve REQUEST --as carol
  coffer show REQUEST
  coffer propose --as bot --to 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC --amount "20 ETH"    # refused by the vaults
  coffer policy show > policy.yaml     # edit it, then see what your edit allows and what it would have done:
  coffer policy limits; coffer policy diff policy.yaml; coffer policy backtest policy.yaml
  coffer policy propose policy.yaml --as alice   # another admin: coffer policy approve CHANGE --as bob; coffer changes pending
  coffer freeze treasury --reason "a test" --as carol; coffer thaw treasury --reason "it was one" --as carol   # then coffer changes approve
  coffer bundle REQUEST -o proof       # what an auditor needs of a confirmed payment; anywhere, offline:
  coffer verify proof --genesis %s
  coffer log verify
  coffer doctor; coffer node list      # this machine; the vaults' devices and what isolates them
%s`, c.Words(), c.Chain, c.NodeURL, c.API, address, money, c.Dir, filepath.Dir(c.Binary), hex.EncodeToString(h[:]), coldNext(c))
}

// printLogs says where the logs are shown, and how to read them.
func printLogs(w io.Writer, c *dev.Cluster) {
	fmt.Fprintln(w, "\nThe vaults' logs, as C2SP tiles (tlog-tiles) for any client of them; URL and key:")
	for i := range c.LogURLs {
		fmt.Fprintf(w, "  log %s %s\n", c.LogURLs[i], c.LogKeys[i])
	}
	fmt.Fprintf(w, "cosigned by the other vaults and by a witness: %s\n", c.WitnessKey)
	fmt.Fprintf(w, "  coffer bundle REQUEST -o proof --witness %s   # carries the witness's word, too\n", c.WitnessKey)
	fmt.Fprintln(w, "\nKill a process if you like: it is started again. Ctrl-C stops everything.")
}

// coldNext is how to try a cold wallet, where two devices here have operators.
func coldNext(c *dev.Cluster) string {
	var ids []string
	for _, p := range c.Parties {
		if p.Kind == "softhsm" || p.Kind == "tpm" {
			ids = append(ids, fmt.Sprint(p.ID))
		}
	}
	if len(ids) < 2 {
		return ""
	}
	return fmt.Sprintf(`  coffer wallet create vault --as alice --tier cold --vaults %s,%s   # each use waits for the operators of both devices:
  coffer hsm pending --config $COFFER_HOME/v%s/hsm.toml            # and coffer hsm authorize ID (docs/ops/hsm.md)
`, ids[0], ids[1], ids[0])
}

// watch waits for Ctrl-C. What ends by itself meanwhile is started again.
func watch(ctx context.Context, w io.Writer, c *dev.Cluster) error {
	err := c.Supervise(ctx, func(text string) { fmt.Fprintln(w, text) })
	if err == nil {
		fmt.Fprintln(w, "\nstopping")
	}
	return err
}
