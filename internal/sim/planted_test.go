//go:build !race

package sim

import (
	"os/exec"
	"strings"
	"testing"
)

// TestPlantedBugs builds the vault with each planted bug: the simulation must
// find it. Without one it finds nothing (TestSeeds, and the first case here,
// which has the liars that only the simulation's build knows).
func TestPlantedBugs(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to build the planted bugs with")
	}
	for _, c := range []struct{ bug, tags, seeds, want string }{
		{"ownledger", "coffer_sim,coffer_planted,bug_ownledger", "3-60", "limit exceeded"},
		{"laterelease", "coffer_sim,coffer_planted,bug_laterelease", "1-60", "limit exceeded"},
		{"sessionkey", "coffer_sim,coffer_planted,bug_sessionkey", "8-60", "limit exceeded"},
		{"none", "coffer_sim", "1-8", "sim: 8 seeds, 0 violations"},
		{"quarantine", "coffer_sim,coffer_planted,bug_quarantine", "1-200", "halted the pair"},
		{"approval", "coffer_sim,coffer_planted,bug_approval", "1-40", "the policy does not allow"},
		{"nonce", "coffer_sim,coffer_planted,bug_nonce", "1-40", "use one nonce"},
		{"order", "coffer_sim,coffer_planted,bug_order", "1-40", "before that is durable"},
		{"gate", "coffer_sim,coffer_planted,bug_gate", "1-200", "invariant 4"},
		{"digest", "coffer_sim,coffer_planted,bug_digest", "5-40", "nobody asked for"},
	} {
		t.Run(c.bug, func(t *testing.T) {
			world := "signing"
			if c.want == "limit exceeded" {
				world = "limits"
			}
			out, err := exec.Command("go", "run", "-tags", c.tags, "./cmd", "-first", "-world", world, "-seeds", c.seeds).CombinedOutput()
			if (err == nil) != (c.bug == "none") {
				t.Errorf("go run: %v", err)
			}
			if !strings.Contains(string(out), c.want) {
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				t.Errorf("want %q; the last of it:\n%s", c.want, strings.Join(lines[max(0, len(lines)-5):], "\n"))
			}
		})
	}
}
