package vaultshell

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/soft"
	"github.com/cofferhq/coffer/internal/node"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/transport"
	"github.com/cofferhq/coffer/internal/transport/transporttest"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// site is a whole cluster in one process: real vaults behind real sockets, a
// software HSM with its helper and a node with its disk for each, a broker, and
// the test as the coordinator.
type site struct {
	t       testing.TB
	dir     string
	broker  *transport.Server
	scfg    transport.ServerConfig
	url     string // that the nodes dial
	co      *transport.Coordinator
	world   *sim.World // people and what they sign
	parties []*party
	wallet  *sim.Wallet
	nonce   uint64
	mu      sync.Mutex                                // guards nonce and what is made with world
	runs    func(ctx context.Context, p *party) error // nil: run
	log     *slog.Logger
	wrap    func(remote.Device) remote.Device // a device of another kind; nil: none
	hsmOf   func(*party)                      // starts a party's helper; nil: a software device's
	said    *syncBuffer                       // what the vaults and nodes log
	name    string                            // of the wallet
}

type party struct {
	*site
	id   int
	dir  string
	vcfg Config
	ncfg node.Config
	down func() // vault and node

	stopHSM func() // its helper
}

const seed = 42

// startSite enrols n vaults and starts them. filter, when not nil, stands
// between the broker and the nodes.
func startSite(t testing.TB, n int, filter transporttest.Filter) *site {
	t.Helper()
	return startSiteOn(t, n, filter, nil)
}

// startSiteOn lets a test stand between the helpers and their devices.
func startSiteOn(t testing.TB, n int, filter transporttest.Filter, wrap func(remote.Device) remote.Device) *site {
	t.Helper()
	return startSiteWith(t, n, filter, func(s *site) { s.wrap = wrap })
}

// startSiteWith lets a test change the site before anything of it starts.
func startSiteWith(t testing.TB, n int, filter transporttest.Filter, edit func(*site)) *site {
	t.Helper()
	s := &site{t: t, dir: shortDir(t), scfg: transport.ServerConfig{Listen: "127.0.0.1:0", Nodes: map[string]string{}}, said: &syncBuffer{}}
	s.log = slog.New(slog.NewTextHandler(s.said, nil))
	edit(s)
	if os.Getenv("COFFER_TEST_LOG") != "" {
		s.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s.scfg.Coordinator = s.user("coordinator")
	for i := 1; i <= n; i++ {
		s.scfg.Nodes[strconv.Itoa(i)] = s.user(strconv.Itoa(i))
	}
	s.startBroker()
	t.Cleanup(func() { s.broker.Close() })
	s.url = s.broker.URL()
	if filter != nil {
		s.url = transporttest.New(t, s.url, filter).URL
	}
	s.enrol(n)
	var err error
	s.co, err = transport.ConnectCoordinator(transport.ClientConfig{URL: s.broker.URL(), Credentials: s.credentials("coordinator")}, s.world.Genesis.Hash(), rand.Reader, nil, s.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.co.Close)
	for _, p := range s.parties {
		p.start()
	}
	return s
}

func (s *site) credentials(user string) string { return "file:" + filepath.Join(s.dir, user+".seed") }

func (s *site) user(name string) string {
	s.t.Helper()
	sd, public, err := transport.NewUser(rand.Reader)
	if err == nil {
		err = os.WriteFile(strings.TrimPrefix(s.credentials(name), "file:"), sd, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return public
}

// startBroker starts it, a second time on its first port and for its cluster.
func (s *site) startBroker() {
	s.t.Helper()
	var id [32]byte
	if s.world != nil {
		id = s.world.Genesis.Hash()
	}
	var err error
	if s.broker, err = transport.StartServer(s.scfg, id, s.log); err != nil {
		s.t.Fatal(err)
	}
	s.scfg.Listen = strings.TrimPrefix(s.broker.URL(), "nats://")
}

// enrol makes the parties and their genesis. The broker is started again, for
// the cluster that this makes.
func (s *site) enrol(n int) {
	s.t.Helper()
	now := clock()
	g := &governance.Genesis{Name: "test", Created: now, Roster: sim.Roster(seed), Policy: sim.Policy()}
	s.world = &sim.World{Seed: seed, Now: now, Genesis: g, Insist: true} // the devices are all software
	genesis := filepath.Join(s.dir, "genesis")
	for i := 1; i <= n; i++ {
		p := &party{site: s, id: i, dir: filepath.Join(s.dir, strconv.Itoa(i))}
		if err := os.Mkdir(p.dir, 0o700); err != nil {
			s.t.Fatal(err)
		}
		p.vcfg.Vault.ID, p.vcfg.Vault.Name, p.vcfg.Vault.Socket = uint16(i), "vault-"+strconv.Itoa(i), filepath.Join(p.dir, "v")
		p.vcfg.Vault.Card, p.vcfg.Vault.Enrol, p.vcfg.HSM.Socket = filepath.Join(p.dir, "card"), true, filepath.Join(p.dir, "h")
		p.ncfg.Node.Dir, p.ncfg.Node.Socket = filepath.Join(p.dir, "disk"), p.vcfg.Vault.Socket
		p.ncfg.Broker = transport.ClientConfig{URL: s.url, Credentials: s.credentials(strconv.Itoa(i))}
		p.startHSM()
		nodeEnd := make(chan error, 1)
		go func() { nodeEnd <- node.Run(s.t.Context(), &p.ncfg, s.log) }()
		if err := run(s.t.Context(), &p.vcfg, s.log); err != nil {
			s.t.Fatal(err)
		}
		if err := <-nodeEnd; err != nil {
			s.t.Fatal(err)
		}
		card, err := os.ReadFile(p.vcfg.Vault.Card)
		if err != nil {
			s.t.Fatal(err)
		}
		e, err := governance.DecodeEnrolment(card)
		if err != nil {
			s.t.Fatal(err)
		}
		g.Enrolments = append(g.Enrolments, *e)
		s.world.IDs = append(s.world.IDs, mpc.ID(i))
		p.vcfg.Vault.Enrol, p.vcfg.Vault.Genesis = false, genesis
		s.parties = append(s.parties, p)
	}
	if err := g.Check(); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(genesis, g.Encode(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.broker.Close()
	s.startBroker()
}

func (p *party) startHSM() {
	p.t.Helper()
	if p.hsmOf != nil {
		p.hsmOf(p)
		return
	}
	p.startSoft()
}

// startSoft starts the helper of a software device.
func (p *party) startSoft() {
	p.t.Helper()
	dir := filepath.Join(p.dir, "keys")
	if err := soft.Provision(p.t.Context(), dir); err != nil {
		p.t.Fatal(err)
	}
	dev, err := soft.Open(p.t.Context(), dir)
	if err != nil {
		p.t.Fatal(err)
	}
	var served remote.Device = dev
	if p.wrap != nil {
		served = p.wrap(dev)
	}
	ln, err := remote.Listen(p.vcfg.HSM.Socket)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv := &remote.Server{Device: served, Log: p.log}
		if operator, ok := served.(hsm.Approver); ok {
			srv.Operator = operator
		}
		_ = srv.Serve(ctx, ln)
	}()
	p.stopHSM = sync.OnceFunc(func() { cancel(); <-done; _ = dev.Close() })
	p.t.Cleanup(p.stopHSM)
}

// start runs the vault and its node until down.
func (p *party) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := node.Run(ctx, &p.ncfg, p.log); err != nil {
			p.t.Errorf("node %d: %v", p.id, err)
		}
	})
	wg.Go(func() {
		runs := func(ctx context.Context, p *party) error { return run(ctx, &p.vcfg, p.log) }
		if p.runs != nil {
			runs = p.runs
		}
		if err := runs(ctx, p); ctx.Err() == nil {
			p.t.Errorf("vault %d: %v", p.id, err)
		}
	})
	p.down = sync.OnceFunc(func() { cancel(); wg.Wait() })
	p.t.Cleanup(p.down)
}

func (s *site) command(id mpc.ID, c *cluster.Command) (*cluster.Reply, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	b, err := s.co.Command(ctx, uint16(id), c.Encode())
	if err != nil {
		return nil, err
	}
	return cluster.DecodeReply(b)
}

// ready waits until these vaults have their pair setups with each other.
func (s *site) ready(ids ...mpc.ID) {
	s.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	var last string
	for {
		n := 0
		for _, id := range ids {
			r, err := s.command(id, &cluster.Command{Kind: cluster.CommandStatus})
			if err != nil {
				last = err.Error()
				continue
			}
			if r.Outcome != cluster.OutcomeDone {
				last = sim.Describe(r)
				continue
			}
			st, err := cluster.DecodeStatus(r.Body)
			if err != nil {
				s.t.Fatal(err)
			}
			last = fmt.Sprintf("vault %d: %+v", id, st.Peers)
			for _, p := range st.Peers {
				if p.Ready && slices.Contains(ids, mpc.ID(p.Vault)) {
					n++
				}
			}
		}
		if n == len(ids)*(len(ids)-1) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the vaults don't get ready: %s", last)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// together sends a command to vaults at once.
func (s *site) together(ids []mpc.ID, c *cluster.Command) (map[mpc.ID]*cluster.Reply, error) {
	var mu sync.Mutex
	var errs []error
	replies := map[mpc.ID]*cluster.Reply{}
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			r, err := s.command(id, c)
			mu.Lock()
			defer mu.Unlock()
			replies[id] = r
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return replies, errors.Join(errs...)
}

func attempt() (a [16]byte) { _, _ = rand.Read(a[:]); return a }

// keygen makes a wallet of all vaults. Under a hostile network it is repeated.
func (s *site) keygen() {
	s.t.Helper()
	for try := 0; ; try++ {
		order := s.world.KeygenOrder(fmt.Sprint("wallet-", try), 2)
		replies, err := s.together(s.world.IDs, &cluster.Command{Kind: cluster.CommandKeygen, Attempt: attempt(), Body: order.Encode()})
		done := err == nil
		var cert []byte
		for _, r := range replies {
			if done = done && r.Outcome == cluster.OutcomeDone; done {
				cert = r.Body
			}
		}
		if !done {
			if try == 20 {
				s.t.Fatalf("no key: %v, %s", err, describe(replies))
			}
			continue
		}
		c, err := dkg.DecodeCertificate(cert)
		if err != nil {
			s.t.Fatal(err)
		}
		s.name = order.Name
		s.wallet = &sim.Wallet{ID: c.KeyID(), Certificate: c, PublicKey: c.PublicKey().Encode(), Parties: c.Parties, Threshold: c.Threshold}
		if s.wallet.Sender, err = (evm.Codec{}).Address(sim.Chain, s.wallet.PublicKey[:]); err != nil {
			s.t.Fatal(err)
		}
		return
	}
}

func describe(replies map[mpc.ID]*cluster.Reply) string {
	var out []string
	for id, r := range replies {
		if r == nil {
			out = append(out, fmt.Sprintf("vault %d: nothing", id))
		} else {
			out = append(out, fmt.Sprintf("vault %d: %s", id, sim.Describe(r)))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func (s *site) trySign(signers ...mpc.ID) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	return s.trySignWithin(ctx, signers...)
}

func (s *site) sign(signers ...mpc.ID) {
	s.t.Helper()
	if err := s.trySign(signers...); err != nil {
		s.t.Fatal(err)
	}
}

// logs checks what the disks hold: every log is whole, under its vault's keys.
func (s *site) logs() {
	s.t.Helper()
	for i, p := range s.parties {
		c, err := logfile.Read(filepath.Join(p.ncfg.Node.Dir, "log"))
		if err != nil || c.Damage != nil {
			s.t.Fatalf("log %d: %v, %v", p.id, err, c.Damage)
		}
		cp, err := audit.DecodeSignedCheckpoint(c.Checkpoint)
		if err != nil {
			s.t.Fatal(err)
		}
		v := s.world.Genesis.Enrolments[i].Vault
		if err := cp.Verify(audit.Keys{Cluster: s.world.Genesis.Hash(), Vault: v.ID, Decision: v.Decision, Log: v.Log}); err != nil {
			s.t.Fatal(err)
		}
		if l := audit.Load(c.Entries[:cp.Size]); l.Root() != cp.Root {
			s.t.Fatalf("log %d: its %d entries are not the checkpoint's", p.id, cp.Size)
		}
	}
}

// TestCluster is a cluster's life: it signs, loses vaults, nodes, helper and
// broker, and signs on.
func TestCluster(t *testing.T) {
	s := startSite(t, 3, nil)
	s.ready(1, 2, 3)
	s.keygen()
	s.sign(1, 2)
	s.sign(2, 3)

	s.parties[2].down()
	s.sign(1, 2)
	if err := s.trySign(1, 3); !errors.Is(err, transport.ErrUnreachable) {
		t.Fatalf("with a vault that is down: %v", err)
	}
	s.parties[1].down()
	s.parties[1].start()
	s.parties[2].start()
	s.ready(1, 2, 3)
	s.sign(2, 3)
	s.sign(1, 3)

	s.broker.Close()
	s.startBroker()
	s.ready(1, 2, 3)
	s.sign(1, 2)
	for _, p := range s.parties {
		p.down()
	}
	s.logs()
}

// TestHostileBroker: whoever owns the broker reads, drops, repeats, reorders,
// alters and redirects. That costs attempts. No vault blames another, none stops,
// and what is signed in the end is what was asked for.
func TestHostileBroker(t *testing.T) {
	rng := mrand.New(mrand.NewPCG(1, 2))
	var kept []transporttest.Message
	var frames [][]byte
	var turns []int
	var dropped, repeated, altered, reordered, redirected int
	calm := true // holds the broker's hand while the cluster starts; guarded by the proxy's lock
	var hostile sync.Mutex
	s := startSite(t, 3, func(m transporttest.Message) []transporttest.Message {
		hostile.Lock()
		defer hostile.Unlock()
		if !strings.HasSuffix(m.Subject, ".frame") {
			return []transporttest.Message{m}
		}
		frames = append(frames, m.Payload)
		if calm {
			return []transporttest.Message{m}
		}
		if len(turns) == 0 { // every trick comes once in 24 frames
			turns = rng.Perm(24)
		}
		turn := turns[0]
		turns = turns[1:]
		switch turn {
		case 0:
			dropped++
			return nil
		case 1:
			repeated++
			return []transporttest.Message{m, m, m}
		case 2:
			altered++
			bad := m
			bad.Payload = append([]byte(nil), m.Payload...)
			bad.Payload[rng.IntN(len(bad.Payload))] ^= 1 << rng.IntN(8)
			return []transporttest.Message{bad, m} // the true one comes too, late
		case 3:
			reordered++
			kept = append(kept, m)
			return nil
		case 4, 5, 6: // an old frame of any vault, to this one
			redirected++
			old := m
			old.Payload = frames[rng.IntN(len(frames))]
			return []transporttest.Message{old, m}
		case 7:
			out := []transporttest.Message{m}
			for _, k := range kept {
				if k.Subscription == m.Subscription && k.Subject == m.Subject {
					out = append(out, k)
				}
			}
			kept = nil
			return out
		}
		return []transporttest.Message{m}
	})
	s.ready(1, 2, 3)
	s.keygen()
	hostile.Lock()
	calm = false
	hostile.Unlock()
	const want = 12
	signed, failed := 0, 0
	for i := 0; signed < want && failed < 10*want; i++ {
		pair := [][]mpc.ID{{1, 2}, {2, 3}, {1, 3}}[i%3]
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		err := s.trySignWithin(ctx, pair...)
		cancel()
		if err == nil {
			signed++
			continue
		}
		failed++
		if strings.Contains(err.Error(), "blame") || strings.Contains(err.Error(), "quarantine") {
			t.Fatalf("a vault was blamed for what the broker did: %v", err)
		}
	}
	hostile.Lock()
	calm = true
	t.Logf("%d signed, %d attempts failed; %d frames: %d dropped, %d repeated, %d altered, %d held back, %d redirected", signed, failed, len(frames), dropped, repeated, altered, reordered, redirected)
	if dropped*repeated*altered*reordered*redirected == 0 {
		t.Error("the broker was not hostile in every way")
	}
	// What the broker read is sealed: nothing of what people asked for is in it.
	for _, f := range frames {
		if strings.Contains(string(f), s.wallet.Sender) || strings.Contains(string(f), sim.Chain) {
			t.Error("a frame shows what is signed")
			break
		}
	}
	hostile.Unlock()
	if signed < want {
		t.Fatalf("%d of %d signed under a hostile broker", signed, want)
	}
	for _, id := range s.world.IDs {
		r, err := s.command(id, &cluster.Command{Kind: cluster.CommandStatus})
		if err != nil {
			t.Fatal(err)
		}
		st, err := cluster.DecodeStatus(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range st.Peers {
			if p.Quarantined {
				t.Errorf("vault %d has quarantined vault %d for what the broker did", id, p.Vault)
			}
		}
	}
	for _, p := range s.parties {
		p.down()
	}
	s.logs()
}

// trySignWithin asks for a fresh small transfer; the signature is verified. It
// gives the attempt up when ctx ends, and tells the vaults so.
func (s *site) trySignWithin(ctx context.Context, signers ...mpc.ID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.nonce++
	s.world.Now = clock()
	b := s.world.Transfer(s.wallet, sim.Known, sim.ETH(1))
	unsigned := sim.Unsigned(sim.Known, sim.ETH(1), s.nonce)
	s.mu.Unlock()
	c := &cluster.Command{Kind: cluster.CommandSign, Attempt: attempt(), Body: b.Encode(), Unsigned: unsigned}
	for _, id := range signers {
		c.Signers = append(c.Signers, uint16(id))
	}
	replies := map[mpc.ID]*cluster.Reply{}
	var errs []error
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, id := range signers {
		wg.Go(func() {
			raw, err := s.co.Command(ctx, uint16(id), c.Encode())
			var r *cluster.Reply
			if err == nil {
				r, err = cluster.DecodeReply(raw)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				cancel() // the others wait for this one in vain
			} else {
				replies[id] = r
			}
		})
	}
	wg.Wait()
	if len(replies) < len(signers) {
		_, err := s.together(signers, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
		return fmt.Errorf("%s: %w", describe(replies), errors.Join(append(errs, err)...))
	}
	for _, r := range replies {
		if r.Outcome != cluster.OutcomeDone {
			return errors.New(describe(replies))
		}
	}
	p, err := (evm.Codec{}).Prepare(sim.Chain, s.wallet.Sender, b.Request.Intent, b.Request.MaxFee, unsigned, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := sim.Combine(s.wallet, p.Digests[0], replies); err != nil {
		s.t.Fatalf("shares that make no signature: %v", err)
	}
	return nil
}

// startAndFail runs vault and node until the vault fails.
func (p *party) startAndFail() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	nodeCtx, stop := context.WithCancel(ctx)
	nodeErr := make(chan error, 1)
	wg.Go(func() {
		err := node.Run(nodeCtx, &p.ncfg, p.log)
		nodeErr <- err
		if err != nil {
			cancel()
		}
	})
	err := run(ctx, &p.vcfg, p.log)
	stop()
	wg.Wait()
	return errors.Join(err, <-nodeErr)
}
