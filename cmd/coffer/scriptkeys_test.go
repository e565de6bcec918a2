package main_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/signature"
)

// softcard LABEL makes a token, and sets CARD to its URI and PINFILE to where its PIN is.
func softcard(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: softcard LABEL")
	}
	t, err := softhsm.InitToken(context.Background(), ts.MkAbs(args[0]), args[0], rand.Reader)
	ts.Check(err)
	ts.Setenv(softhsm.EnvConf, t.Conf)
	ts.Setenv("PINFILE", t.PINFile)
	ts.Setenv("CARD", "pkcs11:token="+t.Label+"?module-path="+t.Module)
}

// enroll NAME KEY writes new.json: the roster that the last command showed, with one
// more approver.
func enroll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: enroll NAME KEY")
	}
	var doc map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc))
	doc["principals"] = append(doc["principals"].([]any), map[string]any{"id": args[0], "kind": "person", "credentials": []any{args[1]}})
	groups := doc["groups"].(map[string]any)
	groups["approvers"] = append(groups["approvers"].([]any), args[0])
	b, err := json.Marshal(doc)
	ts.Check(err)
	if origin := ts.Getenv("ORIGIN"); origin != "" {
		doc["origins"] = []any{origin}
		b, err = json.Marshal(doc)
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs("new.json"), b, 0o600))
}

// authenticator NAME gives somebody a security key, sets KEY to its public key, and
// ORIGIN to a page of this machine.
func authenticator(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: authenticator NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv("ORIGIN", "http://localhost:"+port)
	ts.Setenv("KEY", passkeytest.New(signature.WebAuthnP256, args[0], "localhost").Public().String())
}

// touch NAME ORIGIN FILE is a person in front of the page at ORIGIN: what it shows is
// written to FILE, and signed with the security key of NAME, whose browser says that it
// was at ORIGIN. touch NAME ORIGIN FILE OTHER: it says that it was at OTHER. ! touch:
// the page must refuse the signature.
func touch(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: touch NAME ORIGIN FILE [OTHER]")
	}
	get := func() (b []byte, err error) {
		r, err := http.Get(args[1] + "/options")
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		return io.ReadAll(r.Body)
	}
	var b []byte
	var err error
	for range 200 {
		if b, err = get(); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Check(err)
	var o struct{ Challenge, Text string }
	ts.Check(json.Unmarshal(b, &o))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(o.Text+"\n"), 0o600))
	challenge, err := base64.RawURLEncoding.DecodeString(o.Challenge)
	ts.Check(err)
	x := passkeytest.New(signature.WebAuthnP256, args[0], "localhost")
	if x.Origin = args[1]; len(args) == 4 {
		x.Origin = args[3]
	}
	x.Counter = uint32(time.Now().Unix())
	a := x.Get([32]byte(challenge))
	enc := base64.RawURLEncoding.EncodeToString
	body, err := json.Marshal(map[string]string{"authenticatorData": enc(a.AuthenticatorData), "clientDataJSON": enc(a.ClientData), "signature": enc(a.Signature)})
	ts.Check(err)
	r, err := http.Post(args[1]+"/sign", "application/json", bytes.NewReader(body))
	ts.Check(err)
	defer r.Body.Close()
	said, err := io.ReadAll(r.Body)
	ts.Check(err)
	if (r.StatusCode == http.StatusOK) == neg {
		ts.Fatalf("the page answers %s: %s", r.Status, said)
	}
}
