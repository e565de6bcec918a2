package process

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/coordinator/coordinatortest"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/risk"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/transport"
)

// installation is a folder with the files of a cluster's processes.
type installation struct {
	t     *testing.T
	v     *coordinatortest.Vaults
	node  *devnode.Node
	dir   string
	cfg   *Config
	users map[string]string // user of the broker → secret URI
}

func install(t *testing.T) *installation {
	t.Helper()
	if time.Now().Before(time.UnixMilli(sim.Start).Add(24 * time.Hour)) {
		t.Skip("this machine's clock is behind the simulation's, and the processes go by this machine's")
	}
	v, err := coordinatortest.New(31)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	x := &installation{t: t, v: v, node: devnode.ForTest(t, sim.ChainID, devnode.Options{}), dir: t.TempDir(), users: map[string]string{}}
	x.write("genesis", v.Genesis.Encode())
	public := map[string]string{}
	for _, u := range []string{"coordinator", "risk", "1", "2", "3"} {
		seed, key, err := transport.NewUser(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		x.users[u], public[u] = "file:"+x.write(u+".seed", seed), key
	}
	x.cfg = x.load(fmt.Sprintf(`
[coordinator]
genesis = %q
database = %q
credentials = %q
risk = "risk-1"
[api]
listen = "127.0.0.1:0"
token_file = %q
[broker]
listen = "127.0.0.1:%d"
coordinator = %q
risk = %q
nodes = {1 = %q, 2 = %q, 3 = %q}
[[chains]]
chain = %q
rpc = %q
`, x.path("genesis"), x.path("coordinator.db"), x.users["coordinator"], x.path("token"), freePort(t), public["coordinator"], public["risk"], public["1"], public["2"], public["3"], sim.Chain, x.node.URL))
	return x
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (x *installation) path(name string) string { return filepath.Join(x.dir, name) }

func (x *installation) write(name string, b []byte) string {
	x.t.Helper()
	if err := os.WriteFile(x.path(name), b, 0o600); err != nil {
		x.t.Fatal(err)
	}
	return x.path(name)
}

func (x *installation) load(text string) *Config {
	x.t.Helper()
	cfg, err := LoadConfig(x.write("coordinator.toml", []byte(text)), nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return cfg
}

// background runs f until the test, or the returned function, ends it.
func (x *installation) background(f func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil {
			x.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	x.t.Cleanup(stop)
	return stop
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// coordinator runs the process and returns where it listens.
func (x *installation) coordinator() (Addresses, func()) {
	x.t.Helper()
	ready := make(chan Addresses, 1)
	stop := x.background(func(ctx context.Context) error {
		return Run(ctx, x.cfg, quiet(), func(a Addresses) { ready <- a })
	})
	select {
	case a := <-ready:
		return a, stop
	case <-time.After(30 * time.Second):
		x.t.Fatal("the coordinator does not serve")
		return Addresses{}, nil
	}
}

// nodes connects the simulated vaults to the broker, as their nodes would.
func (x *installation) nodes(broker string) {
	x.t.Helper()
	for id := uint16(1); id <= 3; id++ {
		n, err := transport.ConnectNode(transport.ClientConfig{URL: broker, Credentials: x.users[strconv.Itoa(int(id))]}, x.v.Genesis.Hash(), id, transport.Handlers{
			Frame: func([]byte) {}, // the simulation carries frames itself
			Command: func(body []byte, reply func([]byte)) error {
				go func() {
					if b, err := x.v.Command(context.Background(), id, body); err == nil {
						reply(b)
					}
				}()
				return nil
			},
			Read: func(*transport.Read) *transport.ReadResult { return &transport.ReadResult{Failed: "not in this test"} },
		}, quiet())
		if err != nil {
			x.t.Fatal(err)
		}
		x.t.Cleanup(n.Close)
		if err := n.SendEvent(&transport.NodeStatus{Vault: id, Connected: true}); err != nil {
			x.t.Fatal(err)
		}
	}
}

// engine runs the risk engine's process.
func (x *installation) engine(broker string) (stop func()) {
	x.t.Helper()
	k, err := keyfile.New(bytes.NewReader(sim.Person(x.v.Seed, sim.Engine).Seed()), sim.Engine)
	if err != nil {
		x.t.Fatal(err)
	}
	if _, err := os.Stat(x.path("risk.key")); err != nil {
		if err := k.Write(x.path("risk.key")); err != nil {
			x.t.Fatal(err)
		}
	}
	cfg, err := risk.LoadConfig(x.write("risk.toml", []byte(fmt.Sprintf("[risk]\ngenesis = %q\nkey = %q\n[broker]\nurl = %q\ncredentials = %q\n[checks]\nbad = [%q]\n",
		x.path("genesis"), x.path("risk.key"), broker, x.users["risk"], sim.Chain+":"+sim.Stranger.String()))), nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return x.background(func(ctx context.Context) error { return risk.Run(ctx, cfg, quiet()) })
}

// TestProcesses runs the coordinator's and the risk engine's processes over a real
// broker: keygen, a payment, an engine that is not there, a restart.
func TestProcesses(t *testing.T) {
	x := install(t)
	ctx := t.Context()
	where, stop := x.coordinator()
	x.nodes(where.Broker)
	token, err := client.ReadToken(x.path("token"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.New(where.API, token)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := api.Cluster(ctx)
	if err != nil || len(cluster.Vaults) != 3 {
		t.Fatalf("%+v, %v", cluster, err)
	}
	wallet, err := api.CreateWallet(ctx, x.order(cluster))
	if err != nil {
		t.Fatal(err)
	}
	account, err := evm.ParseAddress(wallet.Addresses[sim.Chain])
	if err != nil {
		t.Fatal(err)
	}
	if err := x.node.SetBalance(ctx, account, sim.ETH(10)); err != nil {
		t.Fatal(err)
	}
	// There is no engine: held, never passed.
	held := x.propose(api, cluster, wallet, sim.Known)
	if held, err = api.Wait(ctx, held.ID, time.Minute); err != nil || held.State != "screening" || !strings.Contains(held.Reason, "held: the risk engine gives no verdict") {
		t.Fatalf("%+v, %v", held, err)
	}
	// It comes, and the request goes on by itself.
	stopEngine := x.engine(where.Broker)
	if held, err = api.WaitFinal(ctx, held.ID, time.Minute); err != nil || held.State != "confirmed" {
		t.Fatalf("%+v, %v", held, err)
	}
	if len(held.Risk) != 1 || held.Risk[0].Engine != sim.Engine || held.Risk[0].Outcome != "pass" || !strings.Contains(strings.Join(held.Risk[0].Reasons, " "), "never paid") {
		t.Errorf("verdict %+v", held.Risk)
	}
	// It knows whom not to pay; the policy wants its pass.
	bad := x.propose(api, cluster, wallet, sim.Stranger)
	if bad, err = api.WaitFinal(ctx, bad.ID, time.Minute); err != nil || bad.State != "denied" || len(bad.Risk) != 1 || !strings.Contains(strings.Join(bad.Risk[0].Reasons, " "), "known bad") {
		t.Fatalf("%+v, %v", bad, err)
	}
	// It goes away again, and the coordinator is restarted meanwhile.
	stopEngine()
	held = x.propose(api, cluster, wallet, sim.Known)
	if held, err = api.Wait(ctx, held.ID, time.Minute); err != nil || held.State != "screening" {
		t.Fatalf("%+v, %v", held, err)
	}
	stop()
	where, _ = x.coordinator() // on the same port: nodes find it again
	if api, err = client.New(where.API, token); err != nil {
		t.Fatal(err)
	}
	x.engine(where.Broker)
	if held, err = api.WaitFinal(ctx, held.ID, time.Minute); err != nil || held.State != "confirmed" {
		t.Fatalf("%+v, %v", held, err)
	}
	if resp, err := http.Get(where.API + "/v1/cluster"); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: %v, %v", resp, err)
	}
}

func (x *installation) signer(name string) *client.Signer {
	x.t.Helper()
	path := x.path(name + ".key")
	if _, err := os.Stat(path); err != nil {
		k, err := keyfile.New(bytes.NewReader(sim.Person(x.v.Seed, name).Seed()), name)
		if err != nil {
			x.t.Fatal(err)
		}
		if err := k.Write(path); err != nil {
			x.t.Fatal(err)
		}
	}
	s, err := client.LoadSigner(path)
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

func (x *installation) order(c *client.Cluster) string {
	x.t.Helper()
	o, err := x.signer("ada").OrderWallet(c, "treasury", 2, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return o
}

func (x *installation) propose(api *client.Client, c *client.Cluster, w *client.Wallet, to evm.Address) *client.Request {
	x.t.Helper()
	d, err := client.NewTransfer(c, w, sim.Chain, to.String(), "0.5 ETH")
	if err != nil {
		x.t.Fatal(err)
	}
	p, err := x.signer(sim.Trader).Propose(d)
	if err != nil {
		x.t.Fatal(err)
	}
	r, err := api.Propose(x.t.Context(), p)
	if err != nil {
		x.t.Fatal(err)
	}
	return r
}

// TestBadConfig: every error names the key and what it wants.
func TestBadConfig(t *testing.T) {
	good := map[string]string{
		"coordinator.genesis": `"g"`, "coordinator.database": `"d"`, "coordinator.credentials": `"file:c"`,
		"api.listen": `"127.0.0.1:0"`, "api.token_file": `"t"`, "broker.listen": `"127.0.0.1:0"`,
		"chains": `[{chain = "eip155:1", rpc = "http://127.0.0.1:1"}]`,
	}
	load := func(change map[string]string) error {
		text := ""
		for k, v := range good {
			if c, ok := change[k]; ok {
				v = c
			}
			if v != "" {
				text += k + " = " + v + "\n"
			}
		}
		for k, v := range change {
			if _, ok := good[k]; !ok {
				text += k + " = " + v + "\n"
			}
		}
		path := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadConfig(path, nil)
		return err
	}
	if err := load(nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, value, want string
	}{
		{"coordinator.genesis", "", "coordinator.genesis is empty"},
		{"coordinator.database", "", "coordinator.database is empty"},
		{"coordinator.credentials", "", "coordinator.credentials is empty"},
		{"api.listen", `"0.0.0.0:80"`, "loopback"},
		{"api.listen", `"80"`, "HOST:PORT"},
		{"api.token_file", "", "api.token_file is empty"},
		{"broker.listen", "", "exactly one of them"},
		{"external_broker.url", `"nats://x:1"`, "exactly one of them"},
		{"chains", "", "chains is empty"},
		{"chains", `[{chain = "ethereum", rpc = "http://x"}]`, "chains[0].chain"},
		{"chains", `[{chain = "eip155:1", rpc = "x"}]`, "chains[0].rpc"},
		{"chains", `[{chain = "eip155:1", rpc = "http://x"}, {chain = "eip155:1", rpc = "http://y"}]`, "chains[1].chain"},
		{"coordinator.colour", `"red"`, `unknown key "coordinator.colour"`},
	} {
		if err := load(map[string]string{c.key: c.value}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %s: %v, want %q", c.key, c.value, err, c.want)
		}
	}
}

// TestCannotStart: what is wrong at the start is said, and nothing is left running.
func TestCannotStart(t *testing.T) {
	x := install(t)
	run := func(change func(*Config)) error {
		cfg := *x.cfg
		cfg.API.Listen = "127.0.0.1:0"
		change(&cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return Run(ctx, &cfg, quiet(), func(Addresses) { cancel() })
	}
	if err := run(func(*Config) {}); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	x.write("open.token", []byte(strings.Repeat("x", 40)))
	if err := os.Chmod(x.path("open.token"), 0o644); err != nil { //nolint:gosec // the point of the test
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"couldn't read the genesis": func(c *Config) { c.Coordinator.Genesis = x.path("none") },
		"couldn't decode genesis":   func(c *Config) { c.Coordinator.Genesis = x.write("bad", []byte("garbage")) },
		"address already in use":    func(c *Config) { c.API.Listen = taken.Addr().String() },
		"couldn't start the broker": func(c *Config) { c.Broker.Listen = taken.Addr().String() },
		"want 0600":                 func(c *Config) { c.API.TokenFile = x.path("open.token") },
		"want 32 or more":           func(c *Config) { c.API.TokenFile = x.write("short", []byte("abc")) },
		"is it a coordinator's":     func(c *Config) { c.Coordinator.Database = x.write("x.db", bytes.Repeat([]byte("no database"), 1000)) },
		"broker credentials":        func(c *Config) { c.Coordinator.Credentials = "file:" + x.path("none") },
	} {
		if err := run(change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := run(func(*Config) {}); err != nil {
		t.Errorf("after all that: %v", err)
	}
}
