package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a certificate authority for one test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	CA   string // its certificate's file
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key, a.CA, _ = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) issue(name string, tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber, tmpl.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key, certFile, keyFile
}

func (a *authority) server(name string) TLSConfig {
	_, _, cert, key := a.issue(name, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return TLSConfig{Certificate: cert, Key: key}
}

func (a *authority) client(name string) TLSConfig {
	_, _, cert, key := a.issue(name, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return TLSConfig{Certificate: cert, Key: key, CA: a.CA}
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	c := newCluster(t, 1)
	c.server.Close()
	c.cfg.TLS = ours.server("broker")
	c.cfg.TLS.CA = ours.CA // clients need certificates
	c.start()

	try := func(conf TLSConfig) bool {
		t.Helper()
		cfg := c.client("1", c.url)
		cfg.TLS = conf
		n, err := ConnectNode(cfg, testCluster, 1, (&collector{}).handlers(), quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		for end := time.Now().Add(700 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if n.nc.IsConnected() {
				return true
			}
		}
		return false
	}
	if !try(ours.client("node")) {
		t.Error("a node with the right certificate is refused")
	}
	for name, conf := range map[string]TLSConfig{
		"without tls":                        {},
		"without a certificate":              {CA: ours.CA},
		"trusts another authority":           {CA: theirs.CA},
		"certificate of another authority":   {CA: ours.CA, Certificate: theirs.client("x").Certificate, Key: theirs.client("y").Key},
		"certificate by another, right pair": func() TLSConfig { c := theirs.client("z"); c.CA = ours.CA; return c }(),
	} {
		if name == "certificate of another authority" { // certificate and key don't fit together
			if _, err := conf.client(); err == nil || !strings.Contains(err.Error(), "couldn't load certificate") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if try(conf) {
			t.Errorf("connected: %s", name)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, conf := range []TLSConfig{{CA: empty}, {CA: "/nonexistent"}} {
		if _, err := conf.client(); err == nil || !strings.Contains(err.Error(), "ca") {
			t.Errorf("%+v: %v", conf, err)
		}
	}
}
