package vaultshell

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/soft"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/mpc"
)

// What BenchmarkBoundary does of each kind, several times in turn: the least of
// the medians, and the least CPU, are compared.
const (
	boundaryRounds = 4
	boundaryIdle   = 40              // signatures one after another, in a round
	boundaryLoad   = 3 * time.Second // of a round under load
	boundaryAtOnce = 8               // signatures at once, under load
)

// BenchmarkBoundary prints what the boundary costs (`make bench`): the same cluster
// of 2 of 3, (a) with confined vault processes, helpers of their own and SoftHSM, (b)
// with each vault and its software HSM in one process, (c) with all three vaults and
// their software HSMs in this process. Nodes, broker and the coordinator's part are in
// this process for all. COFFER_BIN is the program coffer.
func BenchmarkBoundary(b *testing.B) {
	coffer := os.Getenv("COFFER_BIN")
	if coffer == "" {
		b.Skip("COFFER_BIN is not set: it takes the program coffer for the helpers")
	}
	if _, _, err := softhsm.FindModule(); err != nil {
		b.Skip(err)
	}
	// As the confined processes have it (cage.SparingGC), so that nothing but the
	// boundary differs.
	cage.SparingGC()
	var pids []int
	inside := func(s *site) { s.runs = runWithDevice }
	caged := startSiteWith(b, 3, nil, func(s *site) { s.hsmOf = func(p *party) { pids = append(pids, p.serveSoftHSM(coffer)) } })
	sites := []*site{caged, startSiteWith(b, 3, nil, inside), startSiteWith(b, 3, nil, inside)}
	for _, s := range sites {
		s.ready(1, 2, 3)
		s.keygen()
	}
	for _, p := range caged.parties {
		p.down()
		v := p.startCaged()
		pids = append(pids, v.cmd.Process.Pid, v.child())
	}
	for _, p := range sites[1].parties {
		p.down()
		b.Setenv(softKeys, filepath.Join(p.dir, "keys"))
		pids = append(pids, p.startAs(openVault).cmd.Process.Pid)
	}
	for _, s := range sites {
		s.ready(1, 2, 3)
	}
	for b.Loop() {
		compare(b, sites, pids)
	}
}

func compare(b *testing.B, sites []*site, pids []int) {
	names := []string{"caged", "open", "one-process"}
	p50, cpu := make([]float64, len(sites)), make([]float64, len(sites))
	for round := range boundaryRounds {
		for i, s := range sites {
			if t := float64(idleMedian(s)); round == 0 || t < p50[i] {
				p50[i] = t
			}
		}
		for i, s := range sites {
			if t := loadCPU(b, names[i], s, pids); round == 0 || t < cpu[i] {
				cpu[i] = t
			}
		}
	}
	for i, suffix := range []string{"", "", "-of-one-process"} {
		if i > 0 {
			fmt.Printf("\nbench: boundary-overhead-p50%s %.0f ns\n", suffix, p50[0]-p50[i])
			fmt.Printf("bench: boundary-overhead-cpu%s %.1f %%\n", suffix, 100*(cpu[0]/cpu[i]-1))
		}
		b.ReportMetric(p50[i], names[i]+"-p50-ns")
		b.ReportMetric(cpu[i], names[i]+"-cpu-ns/sig")
	}
}

var boundaryPairs = [][]mpc.ID{{1, 2}, {2, 3}, {1, 3}}

func idleMedian(s *site) time.Duration {
	var took []time.Duration
	for n := range boundaryIdle {
		start := time.Now()
		s.sign(boundaryPairs[n%3]...)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// loadCPU is the processors' time for a signature, of this process and pids.
func loadCPU(b *testing.B, name string, s *site, pids []int) float64 {
	before := cpuTimes(b, pids)
	end := time.Now().Add(boundaryLoad)
	var wg sync.WaitGroup
	var n atomic.Int64
	for w := range boundaryAtOnce {
		wg.Go(func() {
			for i := w; time.Now().Before(end); i++ {
				if err := s.trySign(boundaryPairs[i%3]...); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if n.Load() == 0 {
		b.Fatal("nothing was signed")
	}
	after, sum := cpuTimes(b, pids), time.Duration(0)
	for i := range after {
		after[i] = (after[i] - before[i]) / time.Duration(n.Load())
		sum += after[i]
	}
	b.Logf("%s: %v a signature: this process, 3 helpers, 3 times launcher and vault, 3 open vaults: %v", name, sum, after)
	return float64(sum)
}

// cpuTimes are the processors' times of this process and of pids.
func cpuTimes(b *testing.B, pids []int) (out []time.Duration) {
	for _, pid := range append([]int{0}, pids...) {
		clock := int32(unix.CLOCK_PROCESS_CPUTIME_ID)
		if pid != 0 {
			clock = int32(^uint32(pid)<<3 | 2) // clock_getcpuclockid(3)
		}
		var ts unix.Timespec
		if err := unix.ClockGettime(clock, &ts); err != nil {
			b.Fatal(err)
		}
		out = append(out, time.Duration(ts.Nano()))
	}
	return out
}

// serveSoftHSM starts `coffer hsm` with a SoftHSM token and returns its pid.
func (p *party) serveSoftHSM(coffer string) int {
	p.t.Helper()
	tok, err := softhsm.InitToken(p.t.Context(), filepath.Join(p.dir, "token"), fmt.Sprint("bench-", p.id), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	config := filepath.Join(p.dir, "hsm.toml")
	text := fmt.Sprintf("[hsm]\ndevice = %q\nsocket = %q\n[hsm.env]\n%s = %q\n", tok.URI(), p.vcfg.HSM.Socket, softhsm.EnvConf, tok.Conf)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(coffer, "hsm", "--config", config)
	out := &syncBuffer{}
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if p.t.Failed() {
			p.t.Logf("the helper said:\n%s", out)
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := remote.Dial(p.t.Context(), p.vcfg.HSM.Socket); err == nil {
			_ = c.Close()
			return cmd.Process.Pid
		} else if time.Now().After(end) {
			p.t.Fatalf("%v\n%s", err, out)
		}
	}
}

// openVault is a child that is a vault with a software HSM in it, as COFFER_SOFT_KEYS
// names its directory, without launcher or cage.
const (
	openVault = "open-vault"
	softKeys  = "COFFER_SOFT_KEYS"
)

// runWithDevice is a vault of this process on a software HSM of this process.
func runWithDevice(ctx context.Context, p *party) error {
	return runSoft(ctx, &p.vcfg, filepath.Join(p.dir, "keys"), p.log)
}

func runSoft(ctx context.Context, cfg *Config, keys string, log *slog.Logger) error {
	genesis, err := readGenesis(cfg)
	if err != nil {
		return err
	}
	w, err := openWorld(cfg, genesis)
	if err != nil {
		return err
	}
	defer w.listener.Close()
	vc, err := vaultConfig(cfg, w)
	if err != nil {
		return err
	}
	dev, err := soft.Open(ctx, keys)
	if err != nil {
		return err
	}
	defer dev.Close()
	return runOn(ctx, cfg, vc, w, dev, log)
}
