package dev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/transport"
)

// Party is one vault with its HSM helper and its node.
type Party struct {
	ID   uint16
	Name string
	Dir  string
	Kind string // of its device: one of Devices, or pkcs11

	bin    string
	uri    string            // of its device
	env    map[string]string // of its device's library
	Token  string            // directory that holds its token or software keys
	soft   *softhsm.Token    // when SoftHSM is its device
	tpm    *swtpm.TPM        // when a TPM emulator is: it runs as long as the cluster does
	broker string            // public key of its node's user
	show   string            // lines of the node's configuration that show its log; empty: it is not shown
	url    string            // of the broker

	HSM, Vault, Node *Process
}

const enrolTimeout = 60 * time.Second

func (p *Party) path(name string) string { return filepath.Join(p.Dir, name) }

// useSoftHSM gives the party a SoftHSM token of its own.
func (p *Party) useSoftHSM(ctx context.Context) error {
	t, err := softhsm.InitToken(ctx, p.path("token"), "coffer-"+p.Name, rand.Reader)
	if err != nil {
		return err
	}
	p.uri, p.Token, p.soft = t.URI(), t.Tokens, &t
	p.env = map[string]string{softhsm.EnvConf: t.Conf}
	return nil
}

// useTPM gives it a TPM emulator of its own, and a directory for the keys that only
// that TPM opens.
func (p *Party) useTPM(ctx context.Context) (err error) {
	p.Token = p.path("tpm")
	if p.tpm, err = swtpm.Start(ctx, p.Token); err != nil {
		return err
	}
	key, err := p.operatorKey()
	if err != nil {
		return err
	}
	p.uri = p.tpm.URI(p.path("tpm-keys")) + "&operator=" + key
	return nil
}

// OperatorKey is the file of the P-256 key that authorises the uses of cold keys,
// where the device wants signatures; PINFile that of the PIN, where it wants that.
func (p *Party) OperatorKey() string { return p.path("operator.p256") }

// PINFile is empty when the device has no PIN.
func (p *Party) PINFile() string {
	if p.soft != nil {
		return p.soft.PINFile
	}
	return ""
}

// Operator is the socket at which the device's operator finds the helper.
func (p *Party) Operator() string { return p.path("op.sock") }

// operatorKey makes the operator's key, or reads the one that is there.
func (p *Party) operatorKey() (string, error) {
	if _, err := os.Stat(p.OperatorKey()); err == nil {
		k, err := keyfile.Read(p.OperatorKey())
		if err != nil {
			return "", err
		}
		defer k.Destroy()
		return k.Public().String(), nil
	}
	k, err := keyfile.NewP256(rand.Reader, "operator-"+strconv.Itoa(int(p.ID)))
	if err != nil {
		return "", err
	}
	defer k.Destroy()
	return k.Public().String(), k.Write(p.OperatorKey())
}

// plug starts what the device itself is, where it is a process and has ended.
func (p *Party) plug(ctx context.Context) error {
	if p.soft != nil {
		return p.soft.Repair()
	}
	if p.tpm == nil {
		return nil
	}
	select {
	case <-p.tpm.Done():
		return p.useTPM(ctx)
	default:
		return nil
	}
}

// unplug ends it.
func (p *Party) unplug() {
	if p.tpm != nil {
		_ = p.tpm.Stop() // there is nobody to tell; it is killed when it does not stop
	}
}

// useSoftware gives it keys in files.
func (p *Party) useSoftware() {
	p.Token = p.path("software-hsm")
	p.uri = "soft:" + p.Token
}

// usePKCS11 uses a token of the operator's own, labelled coffer-NAME.
func (p *Party) usePKCS11(module, pinFile string) {
	p.uri = pkcs11uri.URI{Token: "coffer-" + p.Name, Module: module, PIN: pinFile}.String()
}

// Write makes the party's configuration files and its broker key.
func (p *Party) Write(genesis string) error {
	if p.broker == "" {
		public, err := brokerKey(p.path("broker.seed"))
		if err != nil {
			return err
		}
		p.broker = public
	}
	var env strings.Builder
	if len(p.env) > 0 {
		env.WriteString("\n[hsm.env]\n")
		for k, v := range p.env {
			fmt.Fprintf(&env, "%s = %q\n", k, v)
		}
	}
	files := map[string]string{
		"hsm.toml": fmt.Sprintf("[hsm]\ndevice = %q\nsocket = %q\noperator = %q\n%s", p.uri, p.path("hsm.sock"), p.Operator(), env.String()),
		"vault.toml": fmt.Sprintf("[vault]\nid = %d\nname = %q\nsocket = %q\ngenesis = %q\ncard = %q\n%s\n[hsm]\nsocket = %q\n",
			p.ID, p.Name, p.path("vault.sock"), genesis, p.path("card"), p.user(), p.path("hsm.sock")),
		"node.toml": fmt.Sprintf("[node]\ndir = %q\nsocket = %q\n%s\n[broker]\nurl = %q\ncredentials = %q\n",
			p.path("disk"), p.path("vault.sock"), p.show, p.url, "file:"+p.path("broker.seed")),
	}
	for name, text := range files {
		if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("couldn't write the configuration of %s: %w", p.Name, err)
		}
	}
	return nil
}

// firstUser is the user id below those of the vaults of development clusters that
// root starts. The numbers need no entry in the system's list, and nobody else
// should have them.
const firstUser = 61_000

// user gives the vault a user of its own, which takes root.
func (p *Party) user() string {
	if os.Geteuid() != 0 {
		return ""
	}
	return fmt.Sprintf("user = \"%d\"\n", firstUser+int(p.ID))
}

// brokerKey makes a broker user, or reads the one that is there. The public key
// is kept beside the seed.
func brokerKey(seedFile string) (public string, err error) {
	if b, err := os.ReadFile(seedFile + ".pub"); err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	seed, public, err := transport.NewUser(rand.Reader)
	if err != nil {
		return "", err
	}
	return public, errors.Join(os.WriteFile(seedFile, seed, 0o600), os.WriteFile(seedFile+".pub", []byte(public+"\n"), 0o644))
}

func (p *Party) startProcess(name string, args ...string) (*Process, error) {
	return start(name+" of "+p.Name, p.Dir, p.path(name+".log"), nil, p.bin, append([]string{name, "--config", p.path(name + ".toml")}, args...)...)
}

// StartHSM starts the helper that serves the device.
func (p *Party) StartHSM(ctx context.Context) (err error) {
	if err := p.plug(ctx); err != nil {
		return err
	}
	if p.HSM, err = p.startProcess("hsm"); err != nil {
		return err
	}
	return waitFor(ctx, "HSM helper of "+p.Name, enrolTimeout, []*Process{p.HSM}, exists(p.path("hsm.sock")))
}

// enrol makes the vault's keys and card.
func (p *Party) enrol(ctx context.Context) (*governance.Enrolment, error) {
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	node, err := p.startProcess("node")
	if err != nil {
		return nil, err
	}
	defer node.Stop()
	v, err := p.startProcess("vault", "--enrol")
	if err != nil {
		return nil, err
	}
	if err := v.Wait(ctx); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(p.path("card"))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the card of %s: %w", p.Name, err)
	}
	return governance.DecodeEnrolment(b)
}

// StartVault starts vault and node; they come up in the background.
func (p *Party) StartVault() (err error) {
	if p.Vault, err = p.startProcess("vault"); err != nil {
		return err
	}
	p.Node, err = p.startProcess("node")
	return err
}

// Kill ends all three with SIGKILL, the vault first.
func (p *Party) Kill() {
	for _, x := range []*Process{p.Vault, p.Node, p.HSM} {
		if x != nil {
			x.Kill()
		}
	}
}

// Start starts all three.
func (p *Party) Start(ctx context.Context) error {
	if err := p.StartHSM(ctx); err != nil {
		return err
	}
	return p.StartVault()
}

// Stop ends all three in order.
func (p *Party) Stop() {
	for _, x := range []*Process{p.Vault, p.Node, p.HSM} {
		if x != nil && x.Running() {
			x.Stop()
		}
	}
}

func (p *Party) processes() []*Process {
	var out []*Process
	for _, x := range []*Process{p.HSM, p.Vault, p.Node} {
		if x != nil {
			out = append(out, x)
		}
	}
	return out
}

// Copy makes a party that runs a copy of this one's disk in another directory,
// with this one's device, as somebody who stole the disk would. Write it before
// it is started.
func (p *Party) Copy(dir string) (*Party, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &Party{ID: p.ID, Name: p.Name, Dir: dir, bin: p.bin, uri: p.uri, env: p.env, Token: p.Token, broker: p.broker, url: p.url}
	if err := os.CopyFS(c.path("disk"), os.DirFS(p.path("disk"))); err != nil {
		return nil, fmt.Errorf("couldn't copy the disk of %s: %w", p.Name, err)
	}
	seed, err := os.ReadFile(p.path("broker.seed"))
	if err != nil {
		return nil, err
	}
	return c, os.WriteFile(c.path("broker.seed"), seed, 0o600)
}
