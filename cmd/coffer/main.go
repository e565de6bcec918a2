// Command coffer is Coffer's one binary: the processes of a party (hsm, vault,
// node), the coordinator and the risk engine, a whole cluster for development
// (dev), and the verbs of its users.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/vaultshell"
)

// Exit codes.
const (
	exitFailed = 1 // what was asked for did not happen
	exitUsage  = 2 // the command line is wrong
	exitDenied = 3 // the request came to an end without a payment: denied, rejected, expired, cancelled, reverted
)

func main() {
	if code, caged := vaultshell.RunCaged(); caged {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var quiet *exitError
	if errors.As(err, &quiet) {
		return quiet.code
	}
	printError(stderr, err)
	var usage *usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "required flag(s) ") { // cobra's has no type
		return exitUsage
	}
	return exitFailed
}

// exitError ends the command with a code and no more words.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }

// usageError says that the command line is wrong.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// hintError says what to do about an error.
type hintError struct {
	error
	hint string
}

func (e *hintError) Unwrap() error { return e.error }
func (e *hintError) Hint() string  { return e.hint }

func withHint(err error, format string, args ...any) error {
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// printError prints what is wrong, then what to do about it when that is known.
func printError(w io.Writer, err error) {
	hint, text := hintOf(err), err.Error()
	if hint != "" {
		text = strings.TrimSuffix(text, " (would pass: "+hint+")") // a refusal says it twice
	}
	fmt.Fprintf(w, "error: %s\n", strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n       "))
	if hint != "" {
		fmt.Fprintf(w, "hint:  %s\n", hint)
	}
}

// hintOf is what to do about an error, when it says so.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		return h.Hint()
	}
	var answer *client.Error
	if errors.As(err, &answer) {
		return answer.Fix
	}
	var r *refusal.Refusal
	if errors.As(err, &r) {
		return r.Fix
	}
	return ""
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "coffer",
		Short: "Self-hosted custody: keys split among HSM-backed vaults, policy checked by each of them",
		Long: `Coffer is self-hosted custody: keys split among HSM-backed vaults, policy checked by each of them.

Try it with "coffer dev". The verbs of a cluster's users read client.toml and keys/ in the folder that
COFFER_HOME names.

Exit codes: 0 done; 1 it failed; 2 the command line is wrong; 3 the request came to an end without a payment
(denied, rejected, expired, cancelled, reverted).`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          help,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{withHint(err, "%s --help", cmd.CommandPath())}
	})
	root.AddGroup(
		&cobra.Group{ID: "use", Title: "Use a cluster:"},
		&cobra.Group{ID: "run", Title: "Run a cluster:"},
	)
	for _, c := range processCommands() {
		c.GroupID = "run"
		root.AddCommand(c)
	}
	for _, c := range clientCommands() {
		c.GroupID = "use"
		root.AddCommand(c)
	}
	return root
}
