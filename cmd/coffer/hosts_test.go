package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
)

// TestThreeHosts runs docs/three-hosts.md: its files and its commands, in three
// directories, with addresses of this machine and the software HSM.
func TestThreeHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	chain := devnode.ForTest(t, 31337, devnode.Options{})
	page, err := os.ReadFile("../../docs/three-hosts.md")
	if err != nil {
		t.Fatal(err)
	}
	h := newHosts(t, chain)
	blocks := regexp.MustCompile("(?ms)^```([a-z]+) ([^\n]+)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 15 {
		t.Fatalf("the page has %d blocks", len(blocks))
	}
	for _, b := range blocks {
		words := strings.Fields(b[2])
		if b[1] != "sh" {
			h.file(words[0], b[3])
			continue
		}
		how := words[len(words)-1]
		switch how {
		case "openssl":
			continue // the test makes certificates itself
		case "funded":
			h.fund()
		}
		where := slices.DeleteFunc(words, func(w string) bool { return len(w) > 1 })
		for _, host := range where {
			for line := range strings.Lines(b[3]) {
				h.run(host, strings.TrimSpace(line), how)
			}
		}
	}
	if !strings.Contains(h.output, "confirmed: in block") || !strings.Contains(h.output, "verified: every signature and every decision stands") {
		t.Errorf("the page's last commands print\n%s", h.output)
	}
}

type hosts struct {
	t       *testing.T
	chain   *devnode.Node
	dir     string
	replace *strings.Replacer
	keys    map[string]string // what broker-key and user create printed, by file or name
	output  string            // of the last commands
	daemons []*exec.Cmd
}

func newHosts(t *testing.T, chain *devnode.Node) *hosts {
	api, broker := freePort(t), freePort(t)
	dir, err := os.MkdirTemp(scratch, "h")
	if err != nil {
		t.Fatal(err)
	}
	h := &hosts{t: t, chain: chain, dir: dir, keys: map[string]string{}}
	h.replace = strings.NewReplacer(
		"10.0.0.1:4222", broker, "127.0.0.1:8420", api, "http://127.0.0.1:8545", chain.URL,
		`"pkcs11:token=coffer?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/coffer/pin"`, `"soft:token"`,
	)
	for _, host := range []string{"a", "b", "c"} {
		if err := os.MkdirAll(filepath.Join(h.dir, host), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.certificates()
	t.Cleanup(h.stop)
	return h
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (h *hosts) stop() {
	for _, d := range slices.Backward(h.daemons) {
		_ = d.Process.Signal(syscall.SIGTERM)
		_ = d.Wait()
	}
	if h.t.Failed() {
		logs, _ := filepath.Glob(filepath.Join(h.dir, "*", "*.log"))
		for _, l := range logs {
			b, _ := os.ReadFile(l)
			h.t.Logf("%s:\n%s", l, b[max(0, len(b)-1500):])
		}
	}
}

// file writes a file of the page. What the page gives for host a alone is the
// other hosts' too, with another number and name.
func (h *hosts) file(path, text string) {
	text = h.replace.Replace(text)
	text = regexp.MustCompile(`KEY-OF-([a-z/.]+)`).ReplaceAllStringFunc(text, func(s string) string {
		k, ok := h.keys[strings.TrimPrefix(s, "KEY-OF-")]
		if !ok {
			h.t.Fatalf("%s: no key was printed for %s", path, s)
		}
		return k
	})
	host, name := filepath.Split(path)
	for i, other := range []string{"a", "b", "c"} {
		own := text
		switch {
		case host == "a/" && other == "a":
		case name == "vault.toml":
			own = strings.ReplaceAll(strings.Replace(own, "id = 1", "id = "+string(rune('1'+i)), 1), "vault-a", "vault-"+other)
		case name != "hsm.toml" && name != "node.toml":
			continue
		}
		if err := os.WriteFile(filepath.Join(h.dir, other, name), []byte(own), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
}

// waitTimeout is how long the vaults may take to find each other.
const waitTimeout = 60 * time.Second

func (h *hosts) run(host, line, how string) {
	words := splitWords(line)
	if words[0] == "scp" {
		from, name, _ := strings.Cut(words[1], ":")
		b, err := os.ReadFile(filepath.Join(h.dir, from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(h.dir, host, name), b, 0o600)
		}
		if err != nil {
			h.t.Fatal(err)
		}
		return
	}
	if words[0] != "coffer" {
		h.t.Fatalf("the test does not know how to run %q", line)
	}
	if how == "daemon" {
		h.start(host, words)
		return
	}
	for end := time.Now().Add(waitTimeout); ; time.Sleep(50 * time.Millisecond) {
		out, err := h.command(host, words).CombinedOutput()
		if err == nil {
			h.remember(host, words, string(out))
			return
		}
		if how != "wait" || time.Now().After(end) {
			h.t.Fatalf("%s: %s: %v\n%s", host, line, err, out)
		}
	}
}

// splitWords knows double quotes.
func splitWords(line string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		out = append(out, m[1]+m[2])
	}
	return out
}

func (h *hosts) command(host string, words []string) *exec.Cmd {
	cmd := exec.Command(buildProgram(h.t), words[1:]...)
	cmd.Dir = filepath.Join(h.dir, host)
	anvil, err := devnode.FindAnvil()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":"+filepath.Dir(anvil))
	return cmd
}

func (h *hosts) start(host string, words []string) {
	cmd := h.command(host, words)
	f, err := os.Create(filepath.Join(cmd.Dir, words[1]+".log"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close() // the child has its own
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.daemons = append(h.daemons, cmd)
}

func (h *hosts) remember(host string, words []string, out string) {
	switch words[1] {
	case "broker-key":
		h.keys[host+"/"+words[2]] = strings.TrimSpace(out)
	case "user":
		m := regexp.MustCompile(`public key: (\S+)`).FindStringSubmatch(out)
		if m == nil {
			h.t.Fatalf("no public key in %q", out)
		}
		h.keys[words[3]] = m[1]
	}
	h.output += out
}

// fund gives the wallet money.
func (h *hosts) fund() {
	out, err := h.command("a", splitWords("coffer address treasury --home . --json")).Output()
	var a struct{ Address string }
	if err == nil {
		err = json.Unmarshal(out, &a)
	}
	if err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	account, err := evm.ParseAddress(a.Address)
	if err != nil {
		h.t.Fatal(err)
	}
	wei, err := amount.Parse("1 ETH", amount.Ether...)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.chain.SetBalance(h.t.Context(), account, wei); err != nil {
		h.t.Fatal(err)
	}
}

// certificates makes a CA and the broker's certificate, as the page's openssl
// commands do.
func (h *hosts) certificates() {
	caKey, caCert := h.certificate("coffer-ca", nil, nil)
	key, cert := h.certificate("a", caKey, caCert)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range []struct {
		path, kind string
		der        []byte
	}{
		{"a/ca.pem", "CERTIFICATE", caCert.Raw}, {"b/ca.pem", "CERTIFICATE", caCert.Raw}, {"c/ca.pem", "CERTIFICATE", caCert.Raw},
		{"a/broker.pem", "CERTIFICATE", cert.Raw}, {"a/broker.key", "PRIVATE KEY", der},
	} {
		var b bytes.Buffer
		if err := pem.Encode(&b, &pem.Block{Type: f.kind, Bytes: f.der}); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.dir, f.path), b.Bytes(), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *hosts) certificate(name string, caKey *ecdsa.PrivateKey, ca *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if ca == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		h.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		h.t.Fatal(err)
	}
	return key, cert
}
