package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/internal/passkey"
	"github.com/cofferhq/coffer/internal/wire"
)

// passkeyPage asks the browser for a passkey.
//
//go:embed passkey.html
var passkeyPage []byte

type passkeyFlags struct{ rp, origin, file, challenge string }

func addPasskeyCommand() *cobra.Command {
	var f passkeyFlags
	cmd := verb("add-passkey NAME", "Register a passkey of a person, and print what the roster lists", cobra.ExactArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		return addPasskey(ctx, s, args[0], &f)
	})
	cmd.Long = "Serves a page on this machine, on which the person makes a passkey, and prints its public key for the roster. " +
		"A passkey of another site is registered there: with --file and --challenge its answer is read from a file."
	cmd.Flags().StringVar(&f.origin, "origin", "http://localhost:8421", "the page's origin; the roster must list it")
	cmd.Flags().StringVar(&f.rp, "rp", "", "the relying party's id, a domain; the origin's host if not given")
	cmd.Flags().StringVar(&f.file, "file", "", "what navigator.credentials.create returned, as JSON: clientDataJSON and attestationObject in base64url")
	cmd.Flags().StringVar(&f.challenge, "challenge", "", "of --file: the 32 bytes that were asked with, in hex")
	return cmd
}

func addPasskey(ctx context.Context, s *session, name string, f *passkeyFlags) error {
	if err := wire.CheckName(name); err != nil {
		return &usageError{err}
	}
	u, err := url.Parse(f.origin)
	if err != nil || u.Hostname() == "" || u.Path != "" {
		return &usageError{fmt.Errorf("--origin %q: want https://HOST or http://localhost:PORT", f.origin)}
	}
	if f.rp == "" {
		f.rp = u.Hostname()
	}
	var c *passkey.Credential
	if f.file != "" {
		c, err = registerFile(f)
	} else {
		c, err = registerHere(ctx, name, u, f)
	}
	if err != nil {
		return err
	}
	out := struct {
		Name    string `json:"name"`
		Key     string `json:"key"`
		Origin  string `json:"origin"`
		Synced  bool   `json:"synced"`
		Counter uint32 `json:"counter"`
	}{name, c.Key.String(), c.Origin, c.Synced, c.Counter}
	return s.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "passkey of %s: %s\nfingerprint: %s\nmade on: %s\n", name, c.Key, c.Key.Fingerprint(), c.Origin)
		if c.Synced {
			fmt.Fprintln(w, "It may be copied between the person's devices, so a copy in wrong hands cannot be noticed by its counter. A security key has a counter of its own.")
		}
		fmt.Fprintf(w, "It counts once the admins have put it into the roster: coffer roster show --json > roster.json, add it to the credentials of %s and %s to the origins, coffer roster propose roster.json\n", name, c.Origin)
	})
}

// registrationJSON is a registration as a page sends it.
type registrationJSON struct {
	ClientData        string `json:"clientDataJSON"`
	AttestationObject string `json:"attestationObject"`
}

func (r *registrationJSON) decode() (*passkey.Registration, error) {
	client, err1 := base64.RawURLEncoding.DecodeString(r.ClientData)
	object, err2 := base64.RawURLEncoding.DecodeString(r.AttestationObject)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("want clientDataJSON and attestationObject in base64url without padding: %w", err)
	}
	return &passkey.Registration{ClientData: client, AttestationObject: object}, nil
}

func registerFile(f *passkeyFlags) (*passkey.Credential, error) {
	challenge, err := hex.DecodeString(f.challenge)
	if err != nil || len(challenge) != 32 {
		return nil, &usageError{errors.New("--challenge: want the 32 bytes in hex with which the page asked for the passkey")}
	}
	b, err := os.ReadFile(f.file)
	if err != nil {
		return nil, err
	}
	var r registrationJSON
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", f.file, err)
	}
	reg, err := r.decode()
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", f.file, err)
	}
	return passkey.Register(reg, [32]byte(challenge), f.rp, []string{f.origin})
}

// registerHere serves the page and waits for one passkey.
func registerHere(ctx context.Context, name string, u *url.URL, f *passkeyFlags) (*passkey.Credential, error) {
	if _, err := localOrigin(f.origin); err != nil {
		return nil, &usageError{withHint(fmt.Errorf("--origin: %w", err), "with --file a passkey of another site is read")}
	}
	p := &registration{name: name, flags: f, done: make(chan *passkey.Credential, 1)}
	if _, err := io.ReadFull(rand.Reader, p.challenge[:]); err != nil {
		return nil, err
	}
	return servePage(ctx, u, name, p, p.done)
}

// registration is the page's server. One registration ends it.
type registration struct {
	name      string
	flags     *passkeyFlags
	challenge [32]byte
	done      chan *passkey.Credential
}

func (p *registration) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	pageHeaders(h)
	switch {
	case "http://"+r.Host != p.flags.origin: // another name for this machine: a page elsewhere tries its luck
		http.Error(w, "open "+p.flags.origin, http.StatusMisdirectedRequest)
	case r.Method == http.MethodGet && r.URL.Path == "/":
		h.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(passkeyPage)
	case r.Method == http.MethodGet && r.URL.Path == "/options":
		user := sha256.Sum256([]byte(p.name))
		h.Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"name": p.name, "rp": p.flags.rp, "challenge": base64.RawURLEncoding.EncodeToString(p.challenge[:]), "user": base64.RawURLEncoding.EncodeToString(user[:16]),
		})
	case r.Method == http.MethodPost && r.URL.Path == "/register":
		p.register(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (p *registration) register(w http.ResponseWriter, r *http.Request) {
	var body registrationJSON
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPageBody)).Decode(&body)
	var reg *passkey.Registration
	if err == nil {
		reg, err = body.decode()
	}
	var c *passkey.Credential
	if err == nil {
		c, err = passkey.Register(reg, p.challenge, p.flags.rp, []string{p.flags.origin})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	select {
	case p.done <- c:
		fmt.Fprintf(w, "registered %s; you may close this page", c.Key.Fingerprint())
	default:
		http.Error(w, "a passkey was registered already", http.StatusConflict)
	}
}
