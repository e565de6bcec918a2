package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
)

// proposal is what propose's flags say.
type proposal struct {
	wallet, chain, to, amount, token, raw, data, allow string
	life                                               client.Lifetime
	maxFee, memo                                       string
	lifetime, wait                                     time.Duration
}

func proposeCommand() *cobra.Command {
	var p proposal
	cmd := verb("propose", "Propose a transaction, from its fields or a raw unsigned one", cobra.NoArgs, true, func(ctx context.Context, s *session, _ []string) error {
		return propose(ctx, s, &p)
	})
	cmd.Example = `  coffer propose --as bot --to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --amount "0.1 ETH"
  coffer propose --as alice --to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --amount "25 USDC" --memo "invoice 7"
  coffer propose --as bot --raw 0x02ef…   (an unsigned transaction; nonce and fees are chosen anew at signing)
  coffer propose --as bot --wallet sol --to 7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV --amount "1.5 SOL" --blockhash HASH
  coffer propose --as bot --wallet sol --raw AQABA…   (Solana, base64: signed as it is)`
	f := cmd.Flags()
	f.StringVar(&p.wallet, "wallet", "", "wallet that pays (default: the only one)")
	f.StringVar(&p.chain, "chain", "", "chain, such as eip155:1 (default: the wallet's only one)")
	f.StringVar(&p.to, "to", "", "recipient: 0x and 40 hex digits, or base58 on Solana; with --data the contract")
	f.StringVar(&p.amount, "amount", "", `amount with its unit: "0.1 ETH", "250 gwei", "1000 wei", "25 USDC"`)
	f.StringVar(&p.token, "token", "", "symbol of a token that the policy names, when --amount has none")
	f.StringVar(&p.allow, "allow", "", "instead of --to: let this address spend up to --amount of a token")
	f.StringVar(&p.data, "data", "", "call data of a contract call, 0x and hex")
	f.StringVar(&p.raw, "raw", "", "instead of all fields: a raw unsigned transaction, 0x and hex, base64 on Solana, or @FILE")
	lifetimeFlags(cmd, &p.life)
	f.StringVar(&p.maxFee, "max-fee", "", `the most that fees may be (default "`+client.DefaultMaxFee+`", "`+client.DefaultSolanaMaxFee+`")`)
	f.StringVar(&p.memo, "memo", "", "a note that people see and sign")
	f.DurationVar(&p.lifetime, "lifetime", client.DefaultLifetime, "how long it may be signed")
	f.DurationVar(&p.wait, "wait", 10*time.Second, "how long to wait for what becomes of it")
	return cmd
}

func propose(ctx context.Context, s *session, p *proposal) error {
	if err := p.check(); err != nil {
		return err
	}
	k, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer k.Close()
	d, err := p.draft(ctx, s)
	if err != nil {
		return err
	}
	return s.hand(ctx, k, d, p.wait)
}

// hand proposes a draft and follows it.
func (s *session) hand(ctx context.Context, k *client.Signer, d *client.Draft, wait time.Duration) error {
	s.describe = func(w io.Writer) error {
		dec, err := d.Decoded()
		if err == nil {
			printDecoded(w, dec)
		}
		return err
	}
	signed, err := k.Propose(d)
	if err != nil {
		return err
	}
	dec, err := d.Decoded()
	if err != nil {
		return err
	}
	r, err := s.api.Propose(ctx, signed)
	if err != nil {
		return err
	}
	if t := d.Transaction(); t != "" {
		if r, err = s.api.Bring(ctx, r.ID, t); err != nil {
			return err
		}
	}
	if !s.json {
		s.say("request %s", r.ID)
		printDecoded(s.out(), dec)
	}
	return s.follow(ctx, r, wait)
}

// check refuses what the command line alone shows to be wrong.
func (p *proposal) check() error {
	fields := p.to + p.amount + p.token + p.data + p.allow
	switch {
	case p.raw != "" && fields != "":
		return &usageError{errors.New("--raw: it says everything itself; leave --to, --amount, --token, --allow and --data out")}
	case p.raw != "" && p.life != (client.Lifetime{}):
		return &usageError{errors.New("--blockhash: it stands in the raw transaction already")}
	case p.raw != "":
		return nil
	case p.life.NonceAccount != "" && p.life.Blockhash == "":
		return &usageError{errors.New("--nonce-account: give the nonce's value with --blockhash")}
	case p.to == "" && p.allow == "":
		return &usageError{withHint(errors.New("--to: who is to be paid? want 0x and 40 hex digits, or base58 on Solana"), `coffer propose --to 0x… --amount "0.1 ETH"`)}
	case p.to != "" && p.allow != "":
		return &usageError{errors.New("--allow: it takes the place of --to; give one of them")}
	case p.amount == "" && p.data == "":
		return &usageError{withHint(errors.New(`--amount: how much? want a number and a unit, such as "0.1 ETH"`), `coffer propose --to %s --amount "0.1 ETH"`, p.to+p.allow)}
	}
	return nil
}

// family is what the command line says of the chain, to find the wallet.
func (p *proposal) family() string {
	switch text := p.to + p.allow + p.raw; {
	case p.chain != "":
		return p.chain
	case strings.HasPrefix(text, "0x"):
		return "eip155:"
	case text != "" && !strings.HasPrefix(text, "@"):
		return client.Solana
	}
	return ""
}

func (p *proposal) draft(ctx context.Context, s *session) (*client.Draft, error) {
	w, err := s.wallet(ctx, p.wallet, p.family())
	if err != nil {
		return nil, err
	}
	d, err := p.draftFor(s, w)
	if err != nil {
		return nil, err
	}
	if p.maxFee != "" {
		if err := d.SetMaxFee(p.maxFee); err != nil {
			return nil, err
		}
	}
	if p.memo != "" {
		if err := d.SetMemo(p.memo); err != nil {
			return nil, err
		}
	}
	if err := d.SetLifetime(p.lifetime); err != nil {
		return nil, fmt.Errorf("--lifetime: %w", err)
	}
	if p.life != (client.Lifetime{}) {
		if err := d.SetLife(p.life); err != nil {
			return nil, fmt.Errorf("--blockhash: %w", err)
		}
	}
	return d, nil
}

func (p *proposal) draftFor(s *session, w *client.Wallet) (*client.Draft, error) {
	if p.raw != "" {
		raw, err := readArgument(p.raw)
		if err != nil {
			return nil, err
		}
		return client.NewRaw(s.info, w, raw)
	}
	chain, err := s.chain(p.chain, w)
	if err != nil {
		return nil, err
	}
	text := p.amount
	if p.token != "" {
		text += " " + p.token
	}
	var d *client.Draft
	switch {
	case p.data != "":
		data, e := parseHex("--data", p.data)
		if e != nil {
			return nil, e
		}
		if text == "" {
			text = "0 wei"
		}
		d, err = client.NewCall(s.info, w, chain, p.to, text, data)
	case p.allow != "":
		d, err = client.NewAllowance(s.info, w, chain, p.allow, text)
	default:
		d, err = client.NewTransfer(s.info, w, chain, p.to, text)
	}
	return d, err
}

func lifetimeFlags(cmd *cobra.Command, l *client.Lifetime) {
	f := cmd.Flags()
	f.StringVar(&l.Blockhash, "blockhash", "", "Solana: a blockhash of the last minute, or the value of the durable nonce")
	f.StringVar(&l.NonceAccount, "nonce-account", "", "Solana: the account of a durable nonce whose authority is the wallet")
}

func transactCommand() *cobra.Command {
	var life client.Lifetime
	var raw string
	var wait time.Duration
	cmd := verb("transact REQUEST", "Bring the transaction that a request's vaults are to sign (Solana)", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		if (raw == "") == (life.Blockhash == "") {
			return &usageError{errors.New("--blockhash, or --raw: give one of them")}
		}
		dec, k, err := s.decode(ctx, args[0])
		if err != nil {
			return err
		}
		k.Close()
		var unsigned string
		if raw == "" {
			unsigned, err = dec.Transaction(life)
		} else if raw, err = readArgument(raw); err == nil {
			unsigned, err = dec.RawTransaction(raw)
		}
		if err != nil {
			return err
		}
		r, err := s.api.Bring(ctx, dec.ID, unsigned)
		if err != nil {
			return err
		}
		return s.follow(ctx, r, wait)
	})
	cmd.Long = cmd.Short + ".\n\nOf Solana the coordinator asks no node, so that somebody who knows a blockhash brings the transaction. It must do what the request says, and nothing else: the vaults check it. A newer one may be brought until one is signed."
	cmd.Flags().StringVar(&raw, "raw", "", "a legacy message, or a transaction without its signature, in base64, or @FILE")
	lifetimeFlags(cmd, &life)
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "how long to wait for what becomes of it")
	return cmd
}

// readArgument is the text itself, or with @ the content of a file.
func readArgument(text string) (string, error) {
	path, ok := strings.CutPrefix(text, "@")
	if !ok {
		return text, nil
	}
	b, err := readFile(path)
	if err != nil {
		return "", fmt.Errorf("couldn't read %s: %w", text, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// follow waits for what becomes of a request and tells it.
func (s *session) follow(ctx context.Context, r *client.Request, wait time.Duration) error {
	r, err := s.api.Wait(ctx, r.ID, wait)
	if err != nil {
		return err
	}
	if err := s.print(r, func(w io.Writer) { printState(w, r) }); err != nil {
		return err
	}
	return ended(r)
}

// ended makes a request that came to nothing an error of its own kind.
func ended(r *client.Request) error {
	if r.Final && r.State != "confirmed" && r.State != "signed" {
		return &exitError{exitDenied}
	}
	return nil
}

// answerCommand is approve or deny.
func answerCommand(yes bool) *cobra.Command {
	use, short := "approve REQUEST", "Approve a request, after seeing what its bytes say"
	if !yes {
		use, short = "deny REQUEST", "Say no to a request"
	}
	var sure bool
	var deviceKey string
	var validity, wait time.Duration
	cmd := verb(use, short, cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		dec, k, err := s.decode(ctx, args[0])
		if err != nil {
			return err
		}
		defer k.Close()
		s.tell(func(w io.Writer) { printDecoded(w, dec) })
		if !sure {
			word := "Approve"
			if !yes {
				word = "Deny"
			}
			if err := s.confirm(fmt.Sprintf("%s this as %s?", word, k.Principal())); err != nil {
				return err
			}
		}
		if yes {
			if err := s.approveDevices(ctx, dec, k, deviceKey, false); err != nil {
				return err
			}
		}
		a, err := k.Approve(dec, yes, validity)
		if err != nil {
			return err
		}
		r, err := s.api.Approve(ctx, dec.ID, a)
		if err != nil {
			return err
		}
		if !yes {
			// A no that stops a request is what was asked for.
			r, err = s.api.Wait(ctx, r.ID, wait)
			if err != nil {
				return err
			}
			return s.print(r, func(w io.Writer) { printState(w, r) })
		}
		return s.follow(ctx, r, wait)
	})
	cmd.Long = short + ".\n\nWhat is shown is decoded here, from the bytes that get signed; only the names of assets and of declared methods' parameters are the coordinator's."
	cmd.Flags().BoolVarP(&sure, "yes", "y", false, "sign without being asked")
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "how long to wait for what becomes of it")
	if yes {
		cmd.Flags().StringVar(&deviceKey, "device-key", "", "file of the P-256 key that the vaults' devices know (default NAME.p256 beside NAME.key)")
		cmd.Flags().DurationVar(&validity, "valid", 0, "how long the approval counts (default: as long as the request)")
	}
	return cmd
}

// decode fetches a request and reads its bytes, whatever the coordinator says of
// them. The caller closes the signer, which is nil beside an error.
func (s *session) decode(ctx context.Context, id string) (*client.Decoded, *client.Signer, error) {
	if err := checkID("request", id); err != nil {
		return nil, nil, err
	}
	k, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	dec, err := s.decoded(ctx, id)
	if err != nil {
		k.Close()
		return nil, nil, err
	}
	return dec, k, nil
}

func (s *session) decoded(ctx context.Context, id string) (*client.Decoded, error) {
	r, err := s.api.Request(ctx, id)
	if err != nil {
		return nil, err
	}
	dec, err := client.Decode(r.Canonical, s.info)
	switch {
	case err != nil:
		return nil, err
	case !strings.HasPrefix(dec.ID, id):
		return nil, fmt.Errorf("the coordinator shows request %s, which is not %s", dec.ID, id)
	case dec.Cluster != s.info.ID:
		return nil, fmt.Errorf("the request is for cluster %s, this is %s", dec.Cluster, s.info.ID)
	}
	return dec, nil
}

func cancelCommand() *cobra.Command {
	return verb("cancel REQUEST", "Take a request back that you proposed, or, as an admin, anybody's", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		dec, k, err := s.decode(ctx, args[0])
		if err != nil {
			return err
		}
		defer k.Close()
		printDecoded(&s.told, dec)
		c, err := k.Cancel(dec)
		if err != nil {
			return err
		}
		r, err := s.api.Cancel(ctx, dec.ID, c)
		if err != nil {
			return err
		}
		return s.print(r, func(w io.Writer) { printState(w, r) })
	})
}

func statusCommand() *cobra.Command {
	var state string
	var wait time.Duration
	cmd := verb("status [REQUEST]", "Where requests stand: the newest, or one", cobra.MaximumNArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		if len(args) == 1 {
			if err := checkID("request", args[0]); err != nil {
				return err
			}
		}
		if err := s.connect(ctx); err != nil {
			return err
		}
		if len(args) == 1 {
			r, err := s.api.Request(ctx, args[0])
			if err != nil {
				return err
			}
			if wait > 0 {
				if r, err = s.api.WaitFinal(ctx, r.ID, wait); err != nil {
					return err
				}
			}
			if err := s.print(r, func(w io.Writer) { printState(w, r) }); err != nil {
				return err
			}
			if wait > 0 {
				return ended(r)
			}
			return nil
		}
		rs, err := s.api.Requests(ctx, state)
		if err != nil {
			return err
		}
		return s.print(nonNil(rs), func(w io.Writer) { printRequests(w, rs) })
	})
	cmd.Flags().StringVar(&state, "state", "", "only requests in this state, such as awaiting_approval")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait so long for the request's end")
	return cmd
}

func showCommand() *cobra.Command {
	return verb("show REQUEST", "Everything about a request: what it does, which rule matched, what each vault said", cobra.ExactArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		if err := checkID("request", args[0]); err != nil {
			return err
		}
		if err := s.connect(ctx); err != nil {
			return err
		}
		r, err := s.api.Request(ctx, args[0])
		if err != nil {
			return err
		}
		return s.print(r, func(w io.Writer) { printRequest(w, r, s.info) })
	})
}

func exportCommand() *cobra.Command {
	return verb("export REQUEST", "Print the signed raw transaction, which anybody may send, or the signature of a message", cobra.ExactArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		if err := checkID("request", args[0]); err != nil {
			return err
		}
		if err := s.connect(ctx); err != nil {
			return err
		}
		t, err := s.api.Transaction(ctx, args[0])
		if err != nil {
			return err
		}
		if t.Raw == "" {
			return withHint(fmt.Errorf("request %s is not signed", short(args[0])), "coffer status %s", short(args[0]))
		}
		return s.print(t, func(w io.Writer) { fmt.Fprintln(w, t.Raw) })
	})
}
