package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
)

func walletCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "wallet", Short: "Keys that the vaults hold together", Args: cobra.ArbitraryArgs, RunE: help}
	o := client.KeyOptions{Threshold: 2, Purpose: "ecdsa-secp256k1", Tier: "hot"}
	vaults := ""
	create := verb("create NAME", "Have the vaults make a key; an admin signs the order", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		if err := s.connect(ctx); err != nil {
			return err
		}
		k, err := s.signer()
		if err != nil {
			return err
		}
		defer k.Close()
		o.Name = args[0]
		if o.Vaults, err = parseVaults(vaults); err != nil {
			return err
		}
		order, err := k.Order(s.info, o)
		if err != nil {
			return err
		}
		w, err := s.api.CreateWallet(ctx, order)
		if err != nil {
			return err
		}
		return s.print(w, func(out io.Writer) { printWallet(out, w) })
	})
	create.Flags().IntVar(&o.Threshold, "threshold", o.Threshold, "how many vaults must sign together")
	create.Flags().StringVar(&vaults, "vaults", "", "the vaults that hold shares, such as 1,2,3 (default: all)")
	create.Flags().StringVar(&o.Purpose, "suite", o.Purpose, "what the key is for: ecdsa-secp256k1 (EVM chains), ed25519 (Solana), bip340-taproot")
	create.Flags().StringVar(&o.Tier, "tier", o.Tier, "how the vaults keep their shares: hot (open while they run), warm (sealed, opened for one signature), cold (the device's operator authorises every use)")
	create.Flags().IntVar(&o.Faults, "faults", o.Faults, "how many corrupt vaults spending limits must withstand: 0 to threshold − 1; more vaults must then take part in every signature")
	insistFlag(create, &o.Insist)
	cmd.AddCommand(create, verb("list", "List the wallets", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error {
		if err := s.connect(ctx); err != nil {
			return err
		}
		ws, err := s.api.Wallets(ctx)
		if err != nil {
			return err
		}
		return s.print(nonNil(ws), func(out io.Writer) {
			if len(ws) == 0 {
				fmt.Fprintln(out, "no wallet yet: coffer wallet create NAME --as ADMIN")
				return
			}
			printWallets(out, ws)
		})
	}), verb("show [WALLET]", "Show a wallet: who signs, its addresses, its key's epoch", cobra.MaximumNArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		if err := s.connect(ctx); err != nil {
			return err
		}
		w, err := s.wallet(ctx, strings.Join(args, ""), "")
		if err != nil {
			return err
		}
		return s.print(w, func(out io.Writer) { printWallet(out, w) })
	}))
	return cmd
}

// printWallets gives every address a line; a wallet without one shows its key.
func printWallets(out io.Writer, ws []client.Wallet) {
	rows := [][]string{{"NAME", "SIGNS", "EPOCH", "ADDRESS"}}
	for _, w := range ws {
		row := func(last string) {
			rows = append(rows, []string{w.Name, fmt.Sprintf("%d of %d", w.Threshold, len(w.Parties)), fmt.Sprint(w.Epoch), last})
		}
		for _, chain := range sortedKeys(w.Addresses) {
			row(w.Addresses[chain] + " on " + chain)
		}
		if len(w.Addresses) == 0 {
			row(fmt.Sprintf("on no chain yet; %s key %s", w.Purpose, w.PublicKey))
		}
	}
	table(out, rows...)
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func sortedKeys[V any](m map[string]V) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

func printWallet(out io.Writer, w *client.Wallet) {
	fmt.Fprintf(out, "wallet %s: any %d of vaults %s sign\n", w.Name, w.Threshold, joinInts(w.Parties))
	fmt.Fprintf(out, "key id      %s\npublic key  %s\n", w.ID, w.PublicKey)
	fmt.Fprintf(out, "epoch       %d\n", w.Epoch)
	fmt.Fprintf(out, "suite       %s\n", w.Purpose)
	for _, chain := range sortedKeys(w.Addresses) {
		fmt.Fprintf(out, "address     %s on %s\n", w.Addresses[chain], chain)
	}
	if len(w.Addresses) == 0 {
		fmt.Fprintln(out, "address     none: the wallet is on no chain yet")
	}
}

func joinInts(xs []int) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(xs)), ", "), "[]")
}

func addressCommand() *cobra.Command {
	var chain string
	cmd := verb("address [WALLET]", "Print a wallet's address", cobra.MaximumNArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		if err := s.connect(ctx); err != nil {
			return err
		}
		w, err := s.wallet(ctx, strings.Join(args, ""), chain)
		if err != nil {
			return err
		}
		id, err := s.chain(chain, w)
		if err != nil {
			return err
		}
		a, ok := w.Addresses[id]
		if !ok {
			return fmt.Errorf("wallet %s has no address on %s", w.Name, id)
		}
		return s.print(map[string]string{"wallet": w.Name, "chain": id, "address": a}, func(out io.Writer) { fmt.Fprintln(out, a) })
	})
	cmd.Flags().StringVar(&chain, "chain", "", "chain, such as eip155:1 (default: the only one)")
	return cmd
}

// wallet finds a wallet by name; without one, the only one that is on a chain of
// the family ("": any).
func (s *session) wallet(ctx context.Context, name, family string) (*client.Wallet, error) {
	if name != "" {
		return s.api.Wallet(ctx, name)
	}
	ws, err := s.api.Wallets(ctx)
	if err != nil {
		return nil, err
	}
	if len(ws) == 0 {
		return nil, withHint(fmt.Errorf("there is no wallet yet"), "coffer wallet create NAME --as ADMIN")
	}
	fit := slices.DeleteFunc(slices.Clone(ws), func(w client.Wallet) bool {
		return !slices.ContainsFunc(sortedKeys(w.Addresses), func(id string) bool { return strings.HasPrefix(id, family) })
	})
	if len(fit) == 0 {
		fit = ws // what does not fit is told later, by name
	}
	if len(fit) == 1 {
		return &fit[0], nil
	}
	var names []string
	for _, w := range ws {
		names = append(names, w.Name)
	}
	return nil, &usageError{fmt.Errorf("which wallet? There are %s", strings.Join(names, ", "))}
}

// chain is the chain that was named, or the wallet's only one.
func (s *session) chain(id string, w *client.Wallet) (string, error) {
	ids := sortedKeys(w.Addresses)
	if len(ids) == 0 {
		return "", fmt.Errorf("wallet %s is on no chain yet: this coordinator serves none for %s keys", w.Name, w.Purpose)
	}
	for _, c := range ids {
		if c == id || id == "" && len(ids) == 1 {
			return c, nil
		}
	}
	if id == "" {
		return "", &usageError{fmt.Errorf("--chain: which one? There are %s", strings.Join(ids, ", "))}
	}
	return "", &usageError{fmt.Errorf("--chain %q: wallet %s is on %s", id, w.Name, strings.Join(ids, ", "))}
}
