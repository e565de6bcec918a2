package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/config"
)

// clientCommands are the verbs of a cluster's users.
func clientCommands() []*cobra.Command {
	return append(governanceCommands(), []*cobra.Command{
		userCommand(), walletCommand(), keyCommand(), addressCommand(),
		proposeCommand(), signTypedDataCommand(), answerCommand(true), deviceApproveCommand(), answerCommand(false), cancelCommand(), statusCommand(), showCommand(), transactCommand(), exportCommand(),
		documentCommand("policy"), documentCommand("roster"), documentCommand("measurements"), logCommand(), bundleCommand(), verifyCommand(), doctorCommand(), versionCommand(),
	}...)
}

// clientConfig is client.toml in the user's home.
type clientConfig struct {
	API       string `toml:"api"`        // the coordinator's, http://HOST:PORT
	TokenFile string `toml:"token_file"` // whose content permits reads
	Cluster   string `toml:"cluster"`    // genesis hash; empty takes the coordinator's word
}

// session is what a client's verb works with.
type session struct {
	cmd  *cobra.Command
	home string
	json bool
	as   string

	passkey  bool
	origin   string                // of the passkey's page
	told     bytes.Buffer          // what was said before signing: the passkey's page shows it
	describe func(io.Writer) error // what is to be signed, where it was not said yet

	api  *client.Client
	info *client.Cluster
}

// verb makes a command that talks to a cluster. writes says that it signs.
func verb(use, short string, args cobra.PositionalArgs, writes bool, do func(ctx context.Context, s *session, args []string) error) *cobra.Command {
	s := &session{}
	cmd := &cobra.Command{Use: use, Short: short, Args: positional(args), RunE: func(cmd *cobra.Command, args []string) error {
		s.cmd = cmd
		if s.home == "" {
			s.home = defaultHome()
		}
		return do(cmd.Context(), s, args)
	}}
	f := cmd.Flags()
	f.StringVar(&s.home, "home", "", "folder with client.toml and keys/ (default $COFFER_HOME, or coffer in the user's configuration folder)")
	f.BoolVar(&s.json, "json", false, "print JSON")
	if writes {
		f.StringVar(&s.as, "as", os.Getenv("COFFER_AS"), "who signs: the name of a key in HOME/keys (default $COFFER_AS, or the only key)")
		f.BoolVar(&s.passkey, "passkey", false, "sign with a passkey of --as, on a page that this command serves on this machine")
		f.StringVar(&s.origin, "origin", "", "of --passkey: the page's origin, http://localhost:PORT (default: the roster's first one)")
	}
	return cmd
}

// positional makes a wrong number of arguments a fault of the command line.
func positional(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{withHint(err, "%s", "coffer "+strings.TrimPrefix(cmd.UseLine(), "coffer "))}
		}
		return nil
	}
}

func defaultHome() string {
	if h := os.Getenv("COFFER_HOME"); h != "" {
		return h
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = "."
	}
	return filepath.Join(dir, "coffer")
}

// connect reads client.toml and asks the coordinator about the cluster.
func (s *session) connect(ctx context.Context) error {
	path := filepath.Join(s.home, "client.toml")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		path = ""
	}
	var c clientConfig
	if err := config.Load(path, os.Environ(), &c); err != nil {
		return err
	}
	if c.API == "" {
		return withHint(fmt.Errorf("no cluster is configured: %s does not exist, or has no api", filepath.Join(s.home, "client.toml")),
			"start one with `coffer dev` and paste the export line that it prints; or set COFFER_API and COFFER_TOKEN_FILE")
	}
	token := ""
	if c.TokenFile != "" {
		var err error
		if token, err = client.ReadToken(s.tokenPath(c.TokenFile)); err != nil {
			return withHint(err, "token_file in %s: the coordinator's api.token, or a copy of it", filepath.Join(s.home, "client.toml"))
		}
	}
	var err error
	if s.api, err = client.New(c.API, token); err != nil {
		return err
	}
	if s.info, err = s.api.Cluster(ctx); err != nil {
		return explainUnreachable(err)
	}
	if c.Cluster != "" && c.Cluster != s.info.ID {
		return withHint(fmt.Errorf("the coordinator at %s serves cluster %s, and client.toml names %s", c.API, s.info.ID, c.Cluster), "this is another cluster, or an impostor: do not sign anything")
	}
	return nil
}

// tokenPath takes what client.toml says as relative to the folder it is in,
// wherever the command runs; what the environment says, as it is.
func (s *session) tokenPath(path string) string {
	if filepath.IsAbs(path) || os.Getenv("COFFER_TOKEN_FILE") != "" {
		return path
	}
	return filepath.Join(s.home, path)
}

func explainUnreachable(err error) error {
	var e *client.Error
	if errors.As(err, &e) {
		return err
	}
	return withHint(err, "is the coordinator running? (coffer dev, or coffer coordinator --config FILE)")
}

func (s *session) keys() string { return filepath.Join(s.home, "keys") }

// signer loads the key of whoever --as names.
func (s *session) signer() (*client.Signer, error) {
	if s.passkey {
		return s.passkeySigner(s.cmd.Context())
	}
	name := s.as
	if name == "" {
		files, err := filepath.Glob(filepath.Join(s.keys(), "*.key"))
		if err != nil {
			return nil, err
		}
		var names []string
		for _, f := range files {
			names = append(names, strings.TrimSuffix(filepath.Base(f), ".key"))
		}
		switch len(names) {
		case 0:
			return nil, withHint(fmt.Errorf("there is no key in %s", s.keys()), "coffer user create NAME")
		case 1:
			name = names[0]
		default:
			return nil, &usageError{withHint(fmt.Errorf("--as: who signs? There are keys of %s", strings.Join(names, ", ")), "add --as NAME, or export COFFER_AS=NAME")}
		}
	}
	path := name
	if !strings.ContainsRune(name, filepath.Separator) {
		path = filepath.Join(s.keys(), name+".key")
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(fmt.Errorf("--as: there is no key of %s at %s", name, path), "coffer user create %s", name)
	}
	return s.load(path)
}

// open loads the key of whoever signs and connects. The caller closes the signer.
func (s *session) open(ctx context.Context) (*client.Signer, error) {
	k, err := s.signer()
	if err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

func (s *session) out() io.Writer { return s.cmd.OutOrStdout() }

func (s *session) say(format string, args ...any) {
	fmt.Fprintf(io.MultiWriter(s.out(), &s.told), format+"\n", args...)
}

// tell says what is to be signed: on a passkey's page in any case, on the terminal
// unless JSON is wanted there.
func (s *session) tell(text func(w io.Writer)) {
	text(&s.told)
	if !s.json {
		text(s.out())
	}
}

// print prints JSON when that was asked for, else text.
func (s *session) print(v any, text func(w io.Writer)) error {
	if s.json {
		return printJSON(s.out(), v)
	}
	text(s.out())
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows in columns.
func table(w io.Writer, rows ...[]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	_ = t.Flush() // the writer below is the terminal; there is nowhere to tell of its failure
}

// confirm asks the user, who must answer yes.
func (s *session) confirm(question string) error {
	fmt.Fprintf(s.cmd.ErrOrStderr(), "%s [yes/no] ", question)
	line, err := readLine(s.cmd.InOrStdin())
	if err != nil && line == "" {
		return withHint(errors.New("nobody answered"), "add --yes to sign without being asked")
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "yes" && a != "y" {
		return errors.New("not signed")
	}
	return nil
}

// readLine reads no byte behind the line: a PIN may follow it.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxAnswer; {
		n, err := r.Read(one)
		if n == 1 && one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[:n]...)
		if err != nil {
			return string(line), err
		}
	}
	return string(line), nil
}

// maxAnswer bounds what a person answers to a question.
const maxAnswer = 255

// both shows an amount in people's unit and in the smallest.
func both(a client.Amount) string {
	if a.Smallest == "" || strings.HasSuffix(a.Text, " "+a.Smallest) {
		return fmt.Sprintf("%s (%s units)", a.Text, a.Units)
	}
	return fmt.Sprintf("%s (%s %s)", a.Text, a.Units, a.Smallest)
}

// bare is an account without its chain.
func bare(account string) string {
	if i := strings.LastIndexByte(account, ':'); i >= 0 {
		return account[i+1:]
	}
	return account
}

func short(id string) string { return id[:min(len(id), 12)] }

// checkID checks an id as people type it.
func checkID(what, id string) error {
	if len(id) < 8 || len(id) > 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return &usageError{fmt.Errorf("%s %.80q: want the first 8 to 64 hex digits of an id, in lower case", what, id)}
	}
	return nil
}
