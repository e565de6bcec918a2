// Package passkey has a real browser sign what real vaults verify: Debian's Chromium,
// without a window, with the virtual authenticator of its DevTools, on Coffer's own
// pages. It speaks with the browser over two pipes; nothing leaves this machine.
package passkey

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds each step of the browser.
const patience = 60 * time.Second

// browser is a Chromium, spoken to by the DevTools protocol over pipes: messages of
// JSON, each with a zero byte behind.
type browser struct {
	t    *testing.T
	in   io.Writer
	next int

	mu      sync.Mutex
	waiting map[int]chan answer
}

type answer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no chromium: apt-get install chromium")
		}
		t.Skip("no chromium: apt-get install chromium")
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.Command(path, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check", "--user-data-dir="+home,
		"--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}        // its descriptors 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its own processes end with it
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, waiting: map[int]chan answer{}}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		in.Close()
		out.Close()
		if t.Failed() {
			t.Logf("chromium says: %.2000s", said.Bytes())
		}
	})
	go b.read(out)
	return b
}

// read hands answers to those who wait for them; events are of no interest.
func (b *browser) read(out io.Reader) {
	r := bufio.NewReader(out)
	for {
		message, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var a answer
		if json.Unmarshal(message[:len(message)-1], &a) != nil || a.ID == 0 {
			continue
		}
		b.mu.Lock()
		c := b.waiting[a.ID]
		delete(b.waiting, a.ID)
		b.mu.Unlock()
		if c != nil {
			c <- a
		}
	}
}

// do sends a command, of a page's session or of none.
func (b *browser) do(session, method string, params, result any) {
	b.t.Helper()
	if err := b.try(session, method, params, result); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) try(session, method string, params, result any) error {
	b.next++
	m := map[string]any{"id": b.next, "method": method, "params": params}
	if session != "" {
		m["sessionId"] = session
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c := make(chan answer, 1)
	b.mu.Lock()
	b.waiting[b.next] = c
	b.mu.Unlock()
	if _, err := b.in.Write(append(text, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: the browser does not answer: %w", method, ctx.Err())
	case a := <-c:
		if a.Error != nil {
			return fmt.Errorf("%s: %s", method, a.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(a.Result, result)
	}
}

// page is a tab with an authenticator of its own.
type page struct {
	*browser
	session, device string
}

type none = struct{}

// open opens a page, with a security key that verifies its person or does not.
func (b *browser) open(url string, verifies bool) *page {
	b.t.Helper()
	var target struct{ TargetID string }
	b.do("", "Target.createTarget", map[string]any{"url": url}, &target)
	var attached struct{ SessionID string }
	b.do("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &page{browser: b, session: attached.SessionID}
	b.do(p.session, "Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil) // pages without focus sign nothing
	b.do(p.session, "WebAuthn.enable", none{}, nil)
	var added struct{ AuthenticatorID string }
	b.do(p.session, "WebAuthn.addVirtualAuthenticator", map[string]any{"options": map[string]any{
		"protocol": "ctap2", "transport": "usb", "hasResidentKey": true, "hasUserVerification": true, "isUserVerified": verifies, "automaticPresenceSimulation": true,
	}}, &added)
	p.device = added.AuthenticatorID
	p.until("document.readyState === 'complete'")
	return p
}

// eval runs a script in the page, with a user's gesture, and waits for its promise.
func (p *page) eval(script string) any {
	p.t.Helper()
	var out struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	p.do(p.session, "Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &out)
	if out.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", script, out.ExceptionDetails.Exception.Description)
	}
	return out.Result.Value
}

// until waits for a condition of the page.
func (p *page) until(condition string) {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if p.eval(condition) == true {
			return
		}
	}
	p.t.Fatalf("after %v still not: %s", patience, condition)
}

// press presses a button and returns what the page then says.
func (p *page) press(button string) string {
	p.t.Helper()
	p.until("!document.getElementById('" + button + "').disabled && typeof ask === 'object'")
	p.eval("document.getElementById('said').textContent = ''; document.getElementById('" + button + "').click()")
	p.until("document.getElementById('said').textContent !== ''")
	said, _ := p.eval("document.getElementById('said').textContent").(string)
	return said
}

// credential is a passkey as the authenticator keeps it, its secret included.
type credential map[string]any

func (p *page) credentials() []credential {
	p.t.Helper()
	var out struct{ Credentials []credential }
	p.do(p.session, "WebAuthn.getCredentials", map[string]any{"authenticatorId": p.device}, &out)
	return out.Credentials
}

// put gives the page's authenticator a copy of a passkey, as it is.
func (p *page) put(c credential) {
	p.t.Helper()
	p.do(p.session, "WebAuthn.addCredential", map[string]any{"authenticatorId": p.device, "credential": c}, nil)
}

func (p *page) verifies(yes bool) {
	p.t.Helper()
	p.do(p.session, "WebAuthn.setUserVerified", map[string]any{"authenticatorId": p.device, "isUserVerified": yes}, nil)
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
