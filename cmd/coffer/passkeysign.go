package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/passkey"
	"github.com/cofferhq/coffer/internal/signature"
)

// signPage shows what is to be signed and asks the browser for an assertion.
//
//go:embed passkeysign.html
var signPage []byte

// passkeySigner signs on a page of this machine, with one of the passkeys that the
// roster lists for whoever --as names.
func (s *session) passkeySigner(ctx context.Context) (*client.Signer, error) {
	if s.as == "" {
		return nil, &usageError{withHint(errors.New("--passkey: whose?"), "add --as NAME")}
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	doc, err := s.api.Roster(ctx)
	if err != nil {
		return nil, err
	}
	p, err := passkeysOf(doc.Document, s.as, s.origin)
	if err != nil {
		return nil, err
	}
	x := client.External{Principal: s.as, Sign: func(digest [32]byte) ([]byte, error) {
		text, err := s.toldText()
		if err != nil {
			return nil, err
		}
		p.challenge, p.text = digest, text
		return p.ask(ctx)
	}}
	for _, k := range p.keys {
		x.Keys = append(x.Keys, k.String())
	}
	return client.NewExternalSigner(x)
}

// toldText is what the page shows: what this command decoded and told.
func (s *session) toldText() (string, error) {
	if s.describe != nil {
		if err := s.describe(&s.told); err != nil {
			return "", err
		}
	}
	text := strings.TrimSpace(s.told.String())
	if text == "" {
		return "", errors.New("--passkey: there is nothing to show on the page for what this command signs; sign it with a key file or a smart card")
	}
	return s.cmd.CommandPath() + "\n\n" + text, nil
}

// signing is the page's server. One assertion ends it.
type signing struct {
	name, origin, text string
	challenge          [32]byte
	keys               []signature.PublicKey // the person's, for the page's host
	done               chan []byte
}

// passkeysOf finds in a roster with which passkeys a person can sign on which page of
// this machine. The roster is the coordinator's word: if it lies, the signature is
// worth nothing.
func passkeysOf(document any, name, origin string) (*signing, error) {
	b, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Origins    []string
		Principals []struct {
			ID          string
			Credentials []string
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("the coordinator's roster is not what was expected: %w", err)
	}
	var local []string
	for _, o := range doc.Origins {
		if _, err := localOrigin(o); err == nil {
			local = append(local, o)
		}
	}
	switch {
	case origin == "" && len(local) > 0:
		origin = local[0]
	case origin == "":
		return nil, withHint(errors.New("--passkey: the roster lists no origin of this machine's own, so no page here could sign"), "add http://localhost:8421 to the roster's origins: coffer roster propose FILE")
	case !slices.Contains(local, origin):
		return nil, &usageError{fmt.Errorf("--origin %s: the roster lists of this machine's own only %q", origin, local)}
	}
	p := &signing{name: name, origin: origin, done: make(chan []byte, 1)}
	rp := sha256.Sum256([]byte(localRP))
	for _, x := range doc.Principals {
		for _, text := range x.Credentials {
			k, err := signature.ParseText(text)
			if err != nil {
				return nil, fmt.Errorf("the coordinator's roster: a key of %s: %w", x.ID, err)
			}
			if h, ok := k.RPHash(); ok && x.ID == name && h == rp {
				p.keys = append(p.keys, k)
			}
		}
	}
	if len(p.keys) == 0 {
		return nil, withHint(fmt.Errorf("--passkey: the roster lists no passkey of %s for %s", name, origin), "coffer user add-passkey %s --origin %s", name, origin)
	}
	return p, nil
}

// localRP is the relying party of every page of this machine.
const localRP = "localhost"

func (p *signing) ask(ctx context.Context) ([]byte, error) {
	u, err := localOrigin(p.origin)
	if err != nil {
		return nil, err
	}
	return servePage(ctx, u, p.name, p, p.done)
}

func (p *signing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pageHeaders(w.Header())
	switch {
	case "http://"+r.Host != p.origin: // another name for this machine: a page elsewhere tries its luck
		http.Error(w, "open "+p.origin, http.StatusMisdirectedRequest)
	case r.Method == http.MethodGet && r.URL.Path == "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(signPage)
	case r.Method == http.MethodGet && r.URL.Path == "/options":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"name": p.name, "rp": localRP, "challenge": base64.RawURLEncoding.EncodeToString(p.challenge[:]), "text": p.text,
		})
	case r.Method == http.MethodPost && r.URL.Path == "/sign":
		p.take(w, r)
	default:
		http.NotFound(w, r)
	}
}

// take takes the browser's answer, if it is a good signature of what was asked.
func (p *signing) take(w http.ResponseWriter, r *http.Request) {
	var body struct{ AuthenticatorData, ClientDataJSON, Signature string }
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPageBody)).Decode(&body)
	var sig signature.Signature
	if err == nil {
		var a passkey.Response
		for _, f := range []struct {
			to   *[]byte
			text string
		}{{&a.AuthenticatorData, body.AuthenticatorData}, {&a.ClientData, body.ClientDataJSON}, {&a.Signature, body.Signature}} {
			var e error
			*f.to, e = base64.RawURLEncoding.DecodeString(f.text)
			err = errors.Join(err, e)
		}
		if err == nil {
			sig, err = p.check(&a)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	select {
	case p.done <- sig.Bytes:
		fmt.Fprint(w, "signed; you may close this page")
	default:
		http.Error(w, "it was signed already", http.StatusConflict)
	}
}

// check looks for the key that made the answer. What vaults would refuse is refused
// here, where the person still sees it.
func (p *signing) check(a *passkey.Response) (sig signature.Signature, err error) {
	for _, k := range p.keys {
		var e error
		if sig, e = a.For(k); e == nil {
			e = signature.VerifyAssertion(k, p.challenge, sig)
		}
		var origin string
		if e == nil {
			origin, e = sig.Origin()
		}
		if e == nil && origin != p.origin {
			e = fmt.Errorf("it was signed on %s, want %s", origin, p.origin)
		}
		if e == nil {
			return sig, nil
		}
		err = errors.Join(err, fmt.Errorf("passkey %s: %w", k.Fingerprint(), e))
	}
	return signature.Signature{}, err
}
