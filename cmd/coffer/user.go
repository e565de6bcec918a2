package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/keyfile"
)

func userCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "People's keys", Args: cobra.ArbitraryArgs, RunE: help}
	var p256 bool
	var card string
	create := verb("create NAME", "Make a key for a person or a service", cobra.ExactArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		if card != "" {
			if p256 {
				return &usageError{errors.New("--p256: a card's key is one anyway; leave it out")}
			}
			return createCard(ctx, s, args[0], card)
		}
		return createUser(s, args[0], p256)
	})
	create.Flags().StringVar(&card, "pkcs11", "", "the key is on a smart card, and is made there unless it is: pkcs11:token=LABEL?module-path=/path/to/library.so")
	create.Flags().BoolVar(&p256, "p256", false, "a P-256 key, with which the person approves in the vaults' devices (NAME.p256)")
	cmd.AddCommand(
		create, addPasskeyCommand(),
		verb("list", "List who is in the roster, and whose keys are here", cobra.NoArgs, false, listUsers),
	)
	return cmd
}

func help(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{withHint(fmt.Errorf("unknown command %q", args[0]), "%s --help", cmd.CommandPath())}
	}
	return cmd.Help()
}

// user is somebody in the roster, or somebody whose key is here.
type user struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	Keys    []string `json:"keys"`
	KeyHere string   `json:"key_here,omitempty"` // file
	Roster  bool     `json:"in_roster"`
}

// keyPath is where a new key's file goes.
func (s *session) keyPath(name, suffix string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return "", &usageError{fmt.Errorf("name %q: want a name such as alice, not a path", name)}
	}
	path := filepath.Join(s.keys(), name+suffix)
	if _, err := os.Stat(path); err == nil {
		return "", withHint(fmt.Errorf("there is a key of %s already: %s", name, path), "another name; a key is never overwritten")
	}
	return path, os.MkdirAll(s.keys(), 0o700)
}

func createUser(s *session, name string, p256 bool) error {
	suffix, make := ".key", client.NewSigner
	if p256 {
		suffix, make = p256Suffix, client.NewP256Signer
	}
	path, err := s.keyPath(name, suffix)
	if err != nil {
		return err
	}
	k, err := make(name, path)
	if err != nil {
		return err
	}
	defer k.Close()
	return s.created(name, path, k.PublicKey())
}

func (s *session) created(name, path, key string) error {
	u := user{Name: name, Keys: []string{key}, KeyHere: path}
	return s.print(u, func(w io.Writer) {
		fmt.Fprintf(w, "key of %s: %s\npublic key: %s\n", name, path, key)
		fmt.Fprintln(w, "It counts once the admins have put it into the roster: coffer roster show --json > roster.json, add it, coffer roster propose roster.json")
	})
}

func listUsers(ctx context.Context, s *session, _ []string) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	doc, err := s.api.Roster(ctx)
	if err != nil {
		return err
	}
	users, err := rosterUsers(doc.Document)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(s.keys(), "*.key"))
	if err != nil {
		return err
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".key")
		i := slices.IndexFunc(users, func(u user) bool { return u.Name == name })
		if i < 0 {
			users = append(users, localUser(name, f))
			i = len(users) - 1
		}
		users[i].KeyHere = f
	}
	return s.print(users, func(w io.Writer) {
		rows := [][]string{{"NAME", "KIND", "GROUPS", "KEY HERE", "PUBLIC KEY"}}
		for _, u := range users {
			here, kind := "no", u.Kind
			if u.KeyHere != "" {
				here = "yes"
			}
			if !u.Roster {
				kind = "not in the roster"
			}
			rows = append(rows, []string{u.Name, kind, strings.Join(u.Groups, ","), here, strings.Join(u.Keys, " ")})
		}
		table(w, rows...)
	})
}

// localUser is somebody whom the roster does not have, with the public key that
// an admin needs for putting them into it.
func localUser(name, file string) user {
	u := user{Name: name}
	k, card, err := keyfile.Open(file)
	switch {
	case err != nil:
	case card != nil:
		u.Keys = []string{card.Public.String()}
	default:
		u.Keys = []string{k.Public().String()}
		k.Destroy()
	}
	return u
}

// rosterUsers reads the roster's JSON form.
func rosterUsers(document any) ([]user, error) {
	b, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Principals []struct {
			ID, Kind    string
			Credentials []string
		}
		Groups map[string][]string
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("the coordinator's roster is not what was expected: %w", err)
	}
	var users []user
	for _, p := range doc.Principals {
		u := user{Name: p.ID, Kind: p.Kind, Keys: p.Credentials, Roster: true}
		for name, members := range doc.Groups {
			if slices.Contains(members, p.ID) {
				u.Groups = append(u.Groups, name)
			}
		}
		slices.Sort(u.Groups)
		users = append(users, u)
	}
	return users, nil
}
