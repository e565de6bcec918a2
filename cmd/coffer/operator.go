package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/secret"
)

// operator is where an HSM helper's operator finds it.
type operator struct {
	config, socket string
	json           bool
}

func (o *operator) flags(cmd *cobra.Command) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the helper's TOML file, which names the operator's socket (hsm.operator)")
	f.StringVar(&o.socket, "socket", "", "the operator's socket itself, instead of --config")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// path is the operator's socket.
func (o *operator) path() (string, error) {
	switch {
	case (o.socket == "") == (o.config == ""):
		return "", &usageError{errors.New("--config FILE or --socket PATH: where is the helper's operator socket? Give one of them")}
	case o.socket != "":
		return o.socket, nil
	}
	var c hsmConfig
	if err := config.Load(o.config, os.Environ(), &c); err != nil {
		return "", err
	}
	if c.HSM.Operator == "" {
		return "", withHint(fmt.Errorf("%s has no hsm.operator: this helper has no operator", o.config), `operator = "/run/coffer/operator.sock", and start the helper again`)
	}
	return c.HSM.Operator, nil
}

func hsmPendingCommand() *cobra.Command {
	o := new(operator)
	cmd := o.flags(&cobra.Command{Use: "pending", Short: "List the uses of cold keys that wait for the device's operator", Args: positional(cobra.NoArgs)})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path, err := o.path()
		if err != nil {
			return err
		}
		list, err := remote.ListPending(cmd.Context(), path)
		if err != nil {
			return err
		}
		if o.json {
			return printJSON(cmd.OutOrStdout(), pendingJSON(list))
		}
		printPending(cmd.OutOrStdout(), list)
		return nil
	}
	return cmd
}

// pendingUse is a use that waits, for machines.
type pendingUse struct {
	ID        uint64   `json:"id"`
	Use       string   `json:"use"`
	Asks      string   `json:"asks"` // pin, signatures
	Left      float64  `json:"seconds_left"`
	Statement string   `json:"statement,omitempty"` // digest of what will be signed
	Digest    string   `json:"digest,omitempty"`    // what the operators sign
	Need      int      `json:"need,omitempty"`
	Keys      []string `json:"keys,omitempty"`
}

func pendingJSON(list []remote.Pending) []pendingUse {
	out := []pendingUse{}
	for _, p := range list {
		u := pendingUse{ID: p.ID, Use: p.Challenge.Use, Asks: "pin", Left: p.Left.Seconds()}
		if p.Statement != ([32]byte{}) {
			u.Statement = hex.EncodeToString(p.Statement[:])
		}
		if c := &p.Challenge; c.Kind == hsm.ChallengePolicy {
			u.Asks, u.Need, u.Digest = "signatures", c.Need, hex.EncodeToString(c.Digest[:])
			for _, k := range c.Keys {
				u.Keys = append(u.Keys, k.String())
			}
		}
		out = append(out, u)
	}
	return out
}

func printPending(w io.Writer, list []remote.Pending) {
	if len(list) == 0 {
		fmt.Fprintln(w, "nothing waits for the operator")
		return
	}
	rows := [][]string{{"ID", "WAITS FOR", "LEFT", "USE"}}
	for _, p := range list {
		asks := "the PIN"
		if p.Challenge.Kind == hsm.ChallengePolicy {
			asks = fmt.Sprintf("%d of %d keys", p.Challenge.Need, len(p.Challenge.Keys))
		}
		rows = append(rows, []string{fmt.Sprint(p.ID), asks, p.Left.Round(time.Second).String(), p.Challenge.Use})
	}
	table(w, rows...)
	fmt.Fprintln(w, "\nnext: coffer hsm authorize ID, when you know why")
}

func hsmAuthorizeCommand() *cobra.Command {
	o := new(operator)
	var keys []string
	var sure bool
	cmd := o.flags(&cobra.Command{
		Use:   "authorize ID",
		Short: "Authorise one use of a cold key: with the device's PIN, or with operators' keys",
		Long: `Shows what waits under ID and answers the device: with its PIN, asked for on the terminal without echo or read
as one line from standard input; or, where the device asks for signatures, with the P-256 keys in --key files.
The answer is for this one use. A PIN is tried once.`,
		Args: positional(cobra.ExactArgs(1)),
	})
	cmd.Flags().StringArrayVar(&keys, "key", nil, "file of an operator's P-256 key (coffer user create NAME --p256), for devices that ask for signatures; several times for several")
	cmd.Flags().BoolVarP(&sure, "yes", "y", false, "sign without being asked")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return &usageError{fmt.Errorf("%.40q is no number of what waits; coffer hsm pending lists them", args[0])}
		}
		path, err := o.path()
		if err != nil {
			return err
		}
		return authorize(cmd, path, id, keys, sure, o.json)
	}
	return cmd
}

func authorize(cmd *cobra.Command, path string, id uint64, keys []string, sure, asJSON bool) error {
	p, err := findPending(cmd.Context(), path, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s\n", p.Challenge.Use)
	if p.Statement != ([32]byte{}) {
		fmt.Fprintf(cmd.ErrOrStderr(), "it signs the statement %x\n", p.Statement)
	}
	answer, err := answerTo(cmd, p, keys, sure)
	if err != nil {
		return err
	}
	if err := remote.Authorize(cmd.Context(), path, id, answer); err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), map[string]any{"id": id, "authorised": true})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "authorised: the device has done it\n")
	return nil
}

func findPending(ctx context.Context, path string, id uint64) (*remote.Pending, error) {
	list, err := remote.ListPending(ctx, path)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].ID == id {
			return &list[i], nil
		}
	}
	return nil, withHint(fmt.Errorf("nothing with the number %d waits for the operator", id), "coffer hsm pending; what waits too long is given up and asked for anew")
}

// answerTo makes the answer to a challenge.
func answerTo(cmd *cobra.Command, p *remote.Pending, keys []string, sure bool) (hsm.Answer, error) {
	if p.Challenge.Kind == hsm.ChallengePIN {
		if len(keys) > 0 {
			return hsm.Answer{}, &usageError{errors.New("--key: this device asks for its PIN, not for signatures")}
		}
		pin, err := askPIN(cmd, "PIN of the device: ")
		return hsm.Answer{PIN: pin}, err
	}
	if len(keys) == 0 {
		return hsm.Answer{}, &usageError{fmt.Errorf("--key: this device asks for the signatures of %d of %d operators; give their key files", p.Challenge.Need, len(p.Challenge.Keys))}
	}
	if err := attest.CheckOperatorPreimage(p.Challenge.Preimage, p.Challenge.Digest); err != nil {
		return hsm.Answer{}, withHint(err, "sign nothing; look into the helper's log")
	}
	if !sure {
		s := session{cmd: cmd}
		if err := s.confirm("Authorise this?"); err != nil {
			return hsm.Answer{}, err
		}
	}
	var answer hsm.Answer
	for _, path := range keys {
		k, err := keyfile.Read(path)
		if err != nil {
			return hsm.Answer{}, err
		}
		sig, err := k.Approve(p.Challenge.Digest)
		k.Destroy()
		if err != nil {
			return hsm.Answer{}, err
		}
		answer.Approvals = append(answer.Approvals, hsm.Approval{Key: k.Public(), Signature: sig})
	}
	return answer, nil
}

// maxPIN bounds a line that should be a PIN.
const maxPIN = 255

// onTerminal says whether somebody types.
func onTerminal(cmd *cobra.Command) bool {
	f, ok := cmd.InOrStdin().(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// askPIN reads a PIN from the terminal, without echo, or one line from standard
// input when that is none.
func askPIN(cmd *cobra.Command, prompt string) (secret.Bytes, error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && onTerminal(cmd) {
		if old, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			quiet := *old
			quiet.Lflag &^= unix.ECHO
			if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &quiet); err != nil {
				return secret.Bytes{}, fmt.Errorf("couldn't turn the terminal's echo off: %w", err)
			}
			fmt.Fprint(cmd.ErrOrStderr(), prompt)
			defer func() {
				_ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, old) // it worked a moment ago
				fmt.Fprintln(cmd.ErrOrStderr())
			}()
		}
	}
	line, err := bufio.NewReaderSize(io.LimitReader(in, maxPIN+2), maxPIN+2).ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return secret.Bytes{}, fmt.Errorf("couldn't read the PIN: %w", err)
	}
	defer secret.Wipe(line)
	pin := bytes.TrimRight(line, "\r\n")
	if len(pin) == 0 || len(pin) > maxPIN {
		return secret.Bytes{}, &usageError{fmt.Errorf("want a PIN of 1 to %d bytes as one line on standard input", maxPIN)}
	}
	return secret.New(pin), nil
}
