package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/coordinator/process"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm/device"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/node"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/risk"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/transport"
	"github.com/cofferhq/coffer/internal/vaultshell"
)

// processCommands are the long-running processes and what sets them up.
func processCommands() []*cobra.Command {
	return []*cobra.Command{devCommand(), hsmCommand(), vaultCommand(), nodeCommand(), coordinatorCommand(), riskCommand(), witnessCommand(), priceCommand(), genesisCommand(), brokerKeyCommand()}
}

func newLogger(w io.Writer, process string) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, nil)).With("process", process)
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "", "the process's TOML file")
	_ = cmd.MarkFlagRequired("config")
}

// hsmConfig is the file of `coffer hsm`.
type hsmConfig struct {
	HSM struct {
		Device   string            `toml:"device"`   // soft:DIR or pkcs11:…
		Socket   string            `toml:"socket"`   // to serve it on
		Operator string            `toml:"operator"` // socket for who authorises the uses of cold keys
		Env      map[string]string `toml:"env"`      // variables that the vendor's library reads

		VaultUser string   `toml:"vault-user"` // who starts the vault; empty: the one who starts this
		Paths     []string `toml:"paths"`      // what the device needs beyond what its kind is known to need
		Network   bool     `toml:"network"`    // the device is reached over IP
	} `toml:"hsm"`

	file string // this file
}

func hsmCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "hsm --config FILE",
		Short: "Serve a hardware security module to its vault",
		Long:  "Loads the vendor's library, in a process of its own, and serves the device to the vault over a unix socket. Keys that are missing on the device are made first.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var c hsmConfig
			if err := config.Load(path, os.Environ(), &c); err != nil {
				return err
			}
			c.file = path
			return runHSM(cmd.Context(), &c, newLogger(cmd.ErrOrStderr(), "hsm"))
		},
	}
	configFlag(cmd, &path)
	cmd.AddCommand(hsmPendingCommand(), hsmAuthorizeCommand(), hsmPINCommand(), hsmProvisionCommand())
	return cmd
}

func runHSM(ctx context.Context, c *hsmConfig, log *slog.Logger) error {
	if c.HSM.Device == "" || c.HSM.Socket == "" {
		return errors.New("hsm.device and hsm.socket: want a device URI (soft:DIR or pkcs11:…) and the path of a socket")
	}
	for k, v := range c.HSM.Env {
		if err := os.Setenv(k, v); err != nil {
			return fmt.Errorf("hsm.env.%s: %w", k, err)
		}
	}
	user, err := cage.PeerUID("hsm.vault-user", c.HSM.VaultUser, os.Geteuid())
	if err != nil {
		return err
	}
	if err := confineHSM(c, log); err != nil {
		return err
	}
	l, err := remote.ListenFor(c.HSM.Socket, user)
	if err != nil {
		return err
	}
	defer l.Close()
	var at *remote.Listener
	if c.HSM.Operator != "" {
		if at, err = remote.Listen(c.HSM.Operator); err != nil {
			return err
		}
		defer at.Close()
	}
	confineHSMFiles(log)
	if err := device.Provision(ctx, c.HSM.Device); err != nil {
		return err
	}
	d, err := device.Open(ctx, c.HSM.Device)
	if err != nil {
		return err
	}
	defer d.Close()
	log.Info("serving", "device", d.Info().String())
	s := &remote.Server{Device: d, Log: log}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if at != nil {
		desk := &remote.Desk{Log: log}
		s.Operator = desk
		served := make(chan error, 1)
		go func() { served <- desk.Serve(ctx, at) }()
		defer func() {
			cancel()
			<-served
		}()
	}
	if err := s.Serve(ctx, l); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func vaultCommand() *cobra.Command {
	var path string
	var enrol, rotate bool
	cmd := &cobra.Command{
		Use:   "vault --config FILE",
		Short: "Run a vault: the trusted party that holds a key share; or see to one that is lost, stolen or rolled back",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env := os.Environ()
			if enrol {
				env = append(env, "COFFER_VAULT_ENROL=true")
			}
			if rotate {
				env = append(env, "COFFER_VAULT_ROTATE=true")
			}
			c, err := vaultshell.LoadConfig(path, env)
			if err != nil {
				return err
			}
			return vaultshell.Run(cmd.Context(), c, newLogger(cmd.ErrOrStderr(), "vault"))
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&enrol, "enrol", false, "make the vault's keys and its card (vault.card), then stop")
	cmd.Flags().BoolVar(&rotate, "rotate", false, "make the vault's disk ready for the device behind hsm.next, write the new card (vault.card), then stop")
	cmd.AddCommand(vaultVerbs()...)
	return cmd
}

func nodeCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "node --config FILE",
		Short: "Run a vault's node: its disk and its network, trusted with neither",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := node.LoadConfig(path, os.Environ())
			if err != nil {
				return err
			}
			return node.Run(cmd.Context(), c, newLogger(cmd.ErrOrStderr(), "node"))
		},
	}
	configFlag(cmd, &path)
	cmd.AddCommand(nodesCommand())
	return cmd
}

func coordinatorCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "coordinator --config FILE",
		Short: "Run the coordinator with its broker and its HTTP API",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := process.LoadConfig(path, os.Environ())
			if err != nil {
				return err
			}
			return process.Run(cmd.Context(), c, newLogger(cmd.ErrOrStderr(), "coordinator"), nil)
		},
	}
	configFlag(cmd, &path)
	return cmd
}

func riskCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "risk --config FILE",
		Short: "Run the risk engine, which screens requests",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := risk.LoadConfig(path, os.Environ())
			if err != nil {
				return err
			}
			return risk.Run(cmd.Context(), c, newLogger(cmd.ErrOrStderr(), "risk"))
		},
	}
	configFlag(cmd, &path)
	return cmd
}

func brokerKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "broker-key FILE",
		Short: "Make a key for a node or the coordinator to sign on to the broker",
		Long:  "Writes the secret seed to FILE (mode 0600) and prints the public key, which goes into the coordinator's configuration.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seed, public, err := transport.NewUser(rand.Reader)
			if err != nil {
				return err
			}
			if err := writeNew(args[0], seed, 0o600); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), public)
			return nil
		},
	}
}

// writeNew writes a file that must not exist yet.
func writeNew(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("couldn't write: %w", err)
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func genesisCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "genesis", Short: "Make or show the file that a cluster begins with", Args: cobra.ArbitraryArgs,
		RunE: help}
	var name, roster, pol, out string
	var cards, chains []string
	var cooling time.Duration
	create := &cobra.Command{
		Use:   "create --card FILE … --roster FILE --policy FILE --out FILE",
		Short: "Put the vaults' cards, the first roster and the first policy into a genesis file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := makeGenesis(name, cards, roster, pol, cooling, chains)
			if err != nil {
				return err
			}
			if err := writeNew(out, g.Encode(), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "genesis hash %x\n", g.Hash())
			return nil
		},
	}
	f := create.Flags()
	f.StringVar(&name, "name", "coffer", "name of the cluster")
	f.StringArrayVar(&cards, "card", nil, "a vault's card (coffer vault --enrol); once for each vault")
	f.StringVar(&roster, "roster", "", "people, groups and admin quorum, JSON")
	f.StringVar(&pol, "policy", "", "the first policy, YAML or JSON")
	f.StringVar(&out, "out", "genesis", "the file to write")
	f.DurationVar(&cooling, "cooling", 24*time.Hour, "how long a change waits that is not proven to tighten, at most 720h; 0 for none. It is fixed for good")
	f.StringArrayVar(&chains, "chain", nil, "a chain (CAIP-2) that the vaults sign for; once for each; none: every chain that they can read")
	for _, n := range []string{"card", "roster", "policy"} {
		_ = create.MarkFlagRequired(n)
	}
	var asJSON bool
	var authority string
	show := &cobra.Command{
		Use:   "show FILE",
		Short: "Show what a genesis file says, and its hash",
		Args:  positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readFile(args[0])
			if err != nil {
				return err
			}
			g, err := governance.DecodeGenesis(b)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			w := cmd.OutOrStdout()
			h := g.Hash()
			if err := checkAuthority(g, authority); err != nil {
				return err
			}
			if asJSON {
				return printJSON(w, genesisJSON(g))
			}
			fmt.Fprintf(w, "cluster  %s, made %s\nhash     %s\n", g.Name, time.UnixMilli(int64(g.Created)).UTC().Format(time.RFC3339), hex.EncodeToString(h[:]))
			for _, e := range g.Enrolments {
				fmt.Fprintf(w, "vault %d  %s on %s %s, identity %s\n", e.Vault.ID, e.Vault.Name, e.Vault.Vendor, e.Vault.Model, e.Vault.Identity.Fingerprint())
				if a, err := attest.DecodeArea(e.Vault.ApprovalArea); e.Vault.HasApproval() && err == nil {
					fmt.Fprintf(w, "         approval key %s, under policy %x\n", e.Vault.Approval.Fingerprint(), a.Policy)
				}
			}
			fmt.Fprintf(w, "admins   %s, %d must sign a change\n", strings.Join(g.Roster.Members(identity.Admins), ", "), g.Roster.AdminQuorum)
			fmt.Fprintf(w, "cooling  %s: so long waits what is not proven to tighten\n", time.Duration(g.Cooling)*time.Millisecond)
			if len(g.Chains) > 0 {
				fmt.Fprintf(w, "chains   %s\n", strings.Join(g.Chains, ", "))
			}
			return nil
		},
	}
	show.Flags().StringVar(&authority, "authority", "", "public P-256 key, p256:…, of the authority that says who approves; a vault whose approval key is under another's policy is an error")
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(create, show)
	return cmd
}

func makeGenesis(name string, cards []string, rosterFile, policyFile string, cooling time.Duration, chains []string) (*governance.Genesis, error) {
	if cooling < 0 || cooling > governance.MaxCooling*time.Millisecond {
		return nil, &usageError{fmt.Errorf("--cooling %s: want 0 to 720h", cooling)}
	}
	g := &governance.Genesis{Name: name, Created: uint64(time.Now().UnixMilli()), Cooling: uint64(cooling.Milliseconds())}
	g.Chains = append(g.Chains, chains...)
	slices.Sort(g.Chains)
	for _, c := range cards {
		b, err := readFile(c)
		if err != nil {
			return nil, fmt.Errorf("couldn't read card: %w", err)
		}
		e, err := governance.DecodeEnrolment(b)
		if err != nil {
			return nil, fmt.Errorf("card %s: %w", c, err)
		}
		g.Enrolments = append(g.Enrolments, *e)
	}
	slices.SortFunc(g.Enrolments, func(a, b governance.Enrolment) int { return int(a.Vault.ID) - int(b.Vault.ID) })
	b, err := readFile(rosterFile)
	if err != nil {
		return nil, fmt.Errorf("couldn't read roster: %w", err)
	}
	if g.Roster, err = identity.ParseRosterJSON(b); err != nil {
		return nil, fmt.Errorf("roster %s: %w", rosterFile, err)
	}
	if b, err = readFile(policyFile); err != nil {
		return nil, fmt.Errorf("couldn't read policy: %w", err)
	}
	if g.Policy, err = source.Compile(b, g.Roster); err != nil {
		return nil, fmt.Errorf("policy %s: %w", policyFile, err)
	}
	return g, g.Check()
}

// checkAuthority checks that every approval key in a genesis asks the people whom this
// authority names: root on a host could enrol one that asks his own.
func checkAuthority(g *governance.Genesis, authority string) error {
	if authority == "" {
		return nil
	}
	k, err := signature.ParseText(authority)
	if err != nil {
		return &usageError{fmt.Errorf("--authority: %w", err)}
	}
	for i := range g.Enrolments {
		v := &g.Enrolments[i].Vault
		if !v.HasApproval() {
			continue
		}
		if _, err := attest.CheckApprovalKey(v.ApprovalArea, k); err != nil {
			return fmt.Errorf("vault %d: %w", v.ID, err)
		}
	}
	return nil
}

// genesisJSON is what genesis show prints for machines.
func genesisJSON(g *governance.Genesis) any {
	type vault struct {
		ID       uint16 `json:"id"`
		Name     string `json:"name"`
		Vendor   string `json:"vendor"`
		Model    string `json:"model"`
		Identity string `json:"identity"`
	}
	h := g.Hash()
	vaults := make([]vault, 0, len(g.Enrolments))
	for _, e := range g.Enrolments {
		v := e.Vault
		vaults = append(vaults, vault{v.ID, v.Name, v.Vendor, v.Model, v.Identity.String()})
	}
	return struct {
		Hash    string          `json:"hash"`
		Name    string          `json:"name"`
		Created time.Time       `json:"created"`
		Vaults  []vault         `json:"vaults"`
		Roster  json.RawMessage `json:"roster"`
		Policy  json.RawMessage `json:"policy"`
	}{hex.EncodeToString(h[:]), g.Name, time.UnixMilli(int64(g.Created)).UTC(), vaults, json.RawMessage(g.Roster.JSON()), json.RawMessage(source.JSON(g.Policy))}
}
