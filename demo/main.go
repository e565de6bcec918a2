package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/dev"
)

func main() {
	bin := flag.String("bin", ".build", "folder with the programs coffer, attacker and auditor")
	keep := flag.Bool("keep", false, "leave the cluster's folder behind")
	part := flag.Int("part", 0, "run this part alone; only 8 and 10 stand without the others (0: all)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, *bin, *keep, *part)
	stop()
	os.Exit(code)
}

// groups are the demo's ten parts, in order.
var groups = []struct {
	title string
	run   func(*demo, context.Context) error
}{
	{"Three vaults start, each in processes of its own with a token of its own", (*demo).start},
	{"The vaults make a key together; nobody ever holds it whole", (*demo).keygen},
	{"A payment that the policy allows", (*demo).payment},
	{"A payment that the policy forbids, and a changed policy", (*demo).policy},
	{"The coordinator turns dishonest", (*demo).attack},
	{"Vaults die", (*demo).deaths},
	{"The boundary: what a vault's process, its disk and its device keep apart", (*demo).boundary},
	{"Policy, limits and the log: what is allowed, who changes that, and how anybody can tell", (*demo).governed},
	{"An auditor who trusts nobody", (*demo).audit},
	{"A key's life: new shares, and other vaults, while payments go on", (*demo).lifecycle},
}

type demo struct {
	bin, dir string
	cluster  *dev.Cluster
	client   *client.Client
	info     *client.Cluster
	wallet   *client.Wallet

	group, checks, failed int
}

func run(ctx context.Context, bin string, keep bool, part int) int {
	began := time.Now()
	bin, err := filepath.Abs(bin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "coffer-demo-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	d := &demo{bin: bin, dir: dir}
	d.all(ctx, part)
	if d.cluster != nil {
		d.cluster.Stop()
	}
	if keep || d.failed > 0 {
		fmt.Printf("\nthe cluster's files and logs: %s\n", dir)
	} else if err := os.RemoveAll(dir); err != nil {
		d.check("the temporary folder is removed", err)
	}
	fmt.Printf("\ntook %s\n", short(time.Since(began)))
	fmt.Printf("demo: %d of %d checks passed\n", d.checks-d.failed, d.checks)
	if d.failed > 0 {
		return 1
	}
	return 0
}

// all runs the groups. One that cannot go on fails those after it too: a check
// that was not made is not passed.
func (d *demo) all(ctx context.Context, part int) {
	var broken error
	for i, g := range groups {
		if d.group = i + 1; part != 0 && part != d.group {
			continue
		}
		fmt.Printf("\n%d. %s\n", d.group, g.title)
		if broken != nil {
			d.check(g.title, fmt.Errorf("not tried, since an earlier part failed"))
			continue
		}
		began := time.Now()
		if err := g.run(d, ctx); err != nil {
			broken = err
			d.check(g.title, err)
			continue
		}
		d.say("this part took %s", short(time.Since(began)))
	}
}

// check prints and counts one check.
func (d *demo) check(words string, err error) {
	d.checks++
	if err != nil {
		d.failed++
		fmt.Printf("check %d FAILED: %s: %s\n", d.group, words, strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	fmt.Printf("check %d ok: %s\n", d.group, words)
}

func (d *demo) say(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

func short(t time.Duration) string {
	switch {
	case t < time.Millisecond:
		return t.Round(time.Microsecond).String()
	case t < 10*time.Second:
		return t.Round(time.Millisecond).String()
	}
	return t.Round(100 * time.Millisecond).String()
}
