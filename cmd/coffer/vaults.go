package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
)

// vaultVerbs are what admins do to a vault, beside running one.
func vaultVerbs() []*cobra.Command {
	return []*cobra.Command{
		verb("show VAULT", "Show a vault: its card, what it says of itself, what its peers hold of it", cobra.ExactArgs(1), false, showVault),
		resumeVerb(), liftVerb(), suspendVerb(), replaceVerb(), vaultApproveVerb(),
		verb("changes", "List the orders about vaults so far, and those that wait for signatures", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error {
			return listChanges(ctx, s, "vault")
		}),
	}
}

// vaultFlags are those that every order about a vault has.
type vaultFlags struct {
	reason string
	sure   bool
	wait   time.Duration
}

func (f *vaultFlags) add(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&f.reason, "reason", "", "what happened, for the other admins and for those who read the log")
	_ = cmd.MarkFlagRequired("reason")
	f.addCommon(cmd)
	return cmd
}

func (f *vaultFlags) addCommon(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.sure, "yes", "y", false, "sign without being asked")
	cmd.Flags().DurationVar(&f.wait, "wait", 20*time.Second, "how long to wait until the vaults have applied it (0: not at all)")
}

// vaultDraft makes an order about a vault from what the vaults say.
type vaultDraft func(s *session, vaults []client.Vault, v *client.Vault, author string) (*client.DecodedChange, error)

func resumeVerb() *cobra.Command {
	f := new(vaultFlags)
	return f.add(verb("resume VAULT", "Let a vault whose disk was rolled back go on from where it is (admin quorum)", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		return orderVault(ctx, s, args[0], f, func(s *session, vaults []client.Vault, v *client.Vault, author string) (*client.DecodedChange, error) {
			d, err := client.NewResume(s.info, vaults, v.ID, author, f.reason)
			if err != nil {
				return nil, withHint(err, "coffer vault show %s", v.Name)
			}
			return d, nil
		})
	}))
}

func liftVerb() *cobra.Command {
	f := new(vaultFlags)
	peer := ""
	cmd := f.add(verb("lift VAULT", "End the suspension of a vault; with --peer the quarantine of a pair (admin quorum)", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		return orderVault(ctx, s, args[0], f, func(s *session, vaults []client.Vault, v *client.Vault, author string) (*client.DecodedChange, error) {
			id := 0
			if peer != "" {
				p, err := pickVault(vaults, peer)
				if err != nil {
					return nil, err
				}
				id = p.ID
			}
			return client.NewLift(s.info, v.ID, id, author, f.reason)
		})
	}))
	cmd.Flags().StringVar(&peer, "peer", "", "the other vault of a pair that is quarantined")
	return cmd
}

func suspendVerb() *cobra.Command {
	f := new(vaultFlags)
	return f.add(verb("suspend VAULT", "Have nobody work with a vault until that is lifted; for a host that is lost (one admin)", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		return orderVault(ctx, s, args[0], f, func(s *session, _ []client.Vault, v *client.Vault, author string) (*client.DecodedChange, error) {
			if x := v.Suspension; x != nil {
				s.tell(func(w io.Writer) {
					fmt.Fprintf(w, "%s is suspended already, by change %d: %s. Once more ends a lift of it that waits, and else changes nothing.\n", v.Name, x.Seq, x.Reason)
				})
			}
			return client.NewSuspend(s.info, v.ID, author, f.reason)
		})
	}))
}

func replaceVerb() *cobra.Command {
	f := new(vaultFlags)
	card := ""
	cmd := f.add(verb("replace VAULT --card FILE", "Put a vault's new card in force: another device, or another disk (admin quorum)", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		b, err := readFile(card)
		if err != nil {
			return fmt.Errorf("couldn't read the card: %w", err)
		}
		return orderVault(ctx, s, args[0], f, func(s *session, vaults []client.Vault, v *client.Vault, author string) (*client.DecodedChange, error) {
			d, err := client.NewReplace(s.info, vaults, v.ID, b, author, f.reason)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", card, err)
			}
			by, err := vouched(card, b, &v.Card)
			if err != nil {
				return nil, err
			}
			s.printVouched(by)
			return d, nil
		})
	}))
	cmd.Flags().StringVar(&card, "card", "", "the card that the vault made with its new device (coffer vault --enrol)")
	_ = cmd.MarkFlagRequired("card")
	return cmd
}

// pickVault finds a vault by its name or number.
func pickVault(vaults []client.Vault, name string) (*client.Vault, error) {
	var names []string
	for i := range vaults {
		v := &vaults[i]
		if v.Name == name || strconv.Itoa(v.ID) == name {
			return v, nil
		}
		names = append(names, v.Name)
	}
	return nil, &usageError{fmt.Errorf("there is no vault %.40q: want one of %s, or its number", name, strings.Join(names, ", "))}
}

func orderVault(ctx context.Context, s *session, name string, f *vaultFlags, draft vaultDraft) error {
	if strings.TrimSpace(f.reason) == "" {
		return &usageError{errors.New("--reason: say what happened")}
	}
	k, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer k.Close()
	vaults, err := s.api.Vaults(ctx)
	if err != nil {
		return err
	}
	v, err := pickVault(vaults, name)
	if err != nil {
		return err
	}
	d, err := draft(s, vaults, v, k.Principal())
	if err != nil {
		return err
	}
	if err := s.consent(ctx, k, d, f.sure); err != nil {
		return err
	}
	c, err := s.handIn(ctx, k, d)
	if err != nil {
		return err
	}
	return s.followVaultOrder(ctx, c, f.wait)
}

func vaultApproveVerb() *cobra.Command {
	f := new(vaultFlags)
	cmd := verb("approve CHANGE", "Sign a proposed order about a vault, after seeing it", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		c, _, err := signShown(ctx, s, "vault", args[0], f.sure)
		if err != nil {
			return err
		}
		return s.followVaultOrder(ctx, c, f.wait)
	})
	f.addCommon(cmd)
	return cmd
}

// followVaultOrder waits until every vault that answers has applied the order.
func (s *session) followVaultOrder(ctx context.Context, c *client.Change, wait time.Duration) error {
	if !c.Applied || wait == 0 || c.Status == "waiting" {
		return s.print(c, func(out io.Writer) { printChange(out, c) })
	}
	hash := c.Hash
	until := time.Now().Add(wait)
	for {
		c, err := s.api.Change(ctx, hash)
		if err != nil {
			return err
		}
		var done, behind, silent []string
		for _, a := range c.Vaults {
			switch {
			case a.Applied:
				done = append(done, strconv.Itoa(a.Vault))
			case a.Error != "":
				silent = append(silent, strconv.Itoa(a.Vault))
			default:
				behind = append(behind, strconv.Itoa(a.Vault))
			}
		}
		if len(behind) == 0 && len(silent) == 0 || time.Now().After(until) {
			return s.print(c, func(out io.Writer) {
				printChange(out, c)
				fmt.Fprintf(out, "applied by vaults %s\n", strings.Join(done, ", "))
				for _, l := range []struct {
					ids []string
					say string
				}{{behind, "not yet applied by"}, {silent, "no answer yet of"}} {
					if len(l.ids) > 0 {
						fmt.Fprintf(out, "%s vaults %s: the coordinator brings it to them\n", l.say, strings.Join(l.ids, ", "))
					}
				}
			})
		}
		t := time.NewTimer(200 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// showOrder prints an order, which replaces nothing that one could compare it with.
func (s *session) showOrder(document []byte) {
	for _, l := range strings.Split(string(document), "\n") {
		s.say("  %s", l)
	}
}

func showVault(ctx context.Context, s *session, args []string) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	vaults, err := s.api.Vaults(ctx)
	if err != nil {
		return err
	}
	v, err := pickVault(vaults, args[0])
	if err != nil {
		return err
	}
	return s.print(v, func(out io.Writer) { describeVault(out, v, vaults) })
}

func describeVault(out io.Writer, v *client.Vault, vaults []client.Vault) {
	line := func(what, format string, a ...any) { fmt.Fprintf(out, "%-12s%s\n", what, fmt.Sprintf(format, a...)) }
	line("vault", "%d, %s", v.ID, v.Name)
	from := "the genesis"
	if v.From > 0 {
		from = fmt.Sprintf("change %d", v.From)
	}
	line("card", "%s %s (%s), in force since %s", v.Vendor, v.Model, v.Device, from)
	line("identity", "%s", v.Identity)
	if x := v.Suspension; x != nil {
		line("suspended", "by change %d: %s", x.Seq, x.Reason)
	}
	if !v.Reachable {
		line("state", "does not answer: %s", v.Error)
	} else {
		line("state", "%s, start %d, change %d", v.State, v.Boot, v.GovernanceSeq)
		line("log", "%d entries, root %s", v.LogSize, v.LogRoot)
	}
	if len(v.Awaiting) > 0 {
		line("awaits", "what vaults %s hold of it", joinInts(v.Awaiting))
	}
	if r := v.RolledBack; r != nil {
		who := "its device's counter shows it"
		if len(r.By) > 0 {
			who = "shown by vaults " + joinInts(r.By)
		}
		line("rolled back", "its disk has %d entries, its newest head had %d (start %d, root %s); %s", r.OwnSize, r.HeldSize, r.HeldBoot, r.HeldRoot, who)
		line("next", "find out how; then coffer vault resume %s --reason TEXT --as ADMIN", v.Name)
	}
	for i := range vaults {
		for _, p := range vaults[i].Peers {
			if p.Vault == v.ID {
				printHeld(line, &vaults[i], &p, v)
			}
		}
	}
}

// printHeld says what a peer holds of a vault.
func printHeld(line func(what, format string, a ...any), peer *client.Vault, p *client.Peer, v *client.Vault) {
	what := fmt.Sprintf("vault %d", peer.ID)
	held := "holds no head of it"
	if p.HeldSize > 0 {
		held = fmt.Sprintf("holds its head of %d entries (start %d, root %s)", p.HeldSize, p.HeldBoot, p.HeldRoot)
	}
	switch {
	case p.Suspended:
		held += fmt.Sprintf("; has suspended it: coffer vault lift %s", v.Name)
	case p.Quarantined:
		held += fmt.Sprintf("; the pair is quarantined: coffer vault lift %s --peer %s", v.Name, peer.Name)
	case !p.Ready:
		held += "; not paired"
	}
	line(what, "%s", held)
}
