package machine

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

// good is a machine as a vault wants it.
func good() *Facts {
	return &Facts{
		Root: true, LandlockABI: 7, Memlock: Unlimited, ClockOK: true, CorePattern: "core\n", Ptrace: "1\n",
		Swaps: []byte("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
	}
}

const oneSwap = "Filename Type Size Used Priority\n/dev/sda2 partition 8388604 0 -2\n"

func TestFindings(t *testing.T) {
	for _, f := range good().Findings() {
		if f.Level != OK || f.Says == "" || f.Hint != "" {
			t.Errorf("a good machine: %+v", f)
		}
	}
	for name, c := range map[string]struct {
		change     func(*Facts)
		what       string
		level      Level
		says, hint string
	}{
		"no Landlock":       {func(f *Facts) { f.LandlockABI, f.LandlockErr = 0, errors.New("no such call") }, "Landlock", Warn, "no such call", "lsm="},
		"old Landlock":      {func(f *Facts) { f.LandlockABI = 3 }, "Landlock", Warn, "not closed: TCP, signals", "newer kernel"},
		"oldest Landlock":   {func(f *Facts) { f.LandlockABI = 1 }, "Landlock", Warn, "truncation, TCP", "newer kernel"},
		"Landlock with TCP": {func(f *Facts) { f.LandlockABI = 5 }, "Landlock", Warn, "not closed: signals", "newer kernel"},
		"no seccomp":        {func(f *Facts) { f.SeccompErr = errors.New("withheld") }, "seccomp", Warn, "withheld", "CONFIG_SECCOMP"},
		"not root":          {func(f *Facts) { f.Root = false }, "own user", Warn, "not root", "users of their own"},
		"small memlock":     {func(f *Facts) { f.Memlock = 8 << 20 }, "locked memory", Warn, "8192 KiB", "ulimit"},
		"the right to lock": {func(f *Facts) { f.Memlock, f.IPCLock = 8<<20, true }, "locked memory", OK, "out of swap", ""},
		"memlock unknown":   {func(f *Facts) { f.MemlockErr = errors.New("who knows") }, "locked memory", Warn, "who knows", ""},
		"swap, locked":      {func(f *Facts) { f.Swaps = []byte(oneSwap) }, "swap", OK, "/dev/sda2", ""},
		"swap, not locked":  {func(f *Facts) { f.Swaps, f.Memlock = []byte(oneSwap), 1<<20 }, "swap", Warn, "/dev/sda2", "swapoff"},
		"no swap, no lock":  {func(f *Facts) { f.Memlock = 1 << 20 }, "swap", OK, "off", ""},
		"cores piped":       {func(f *Facts) { f.CorePattern = "|/usr/share/apport -p%p\n" }, "core dumps", Warn, "/usr/share/apport,", "core_pattern"},
		"ptrace open":       {func(f *Facts) { f.Ptrace = "0\n" }, "debuggers", Warn, "ptrace_scope 0", "ptrace_scope=1"},
		"no Yama":           {func(f *Facts) { f.Ptrace = "" }, "debuggers", Warn, "no Yama", "YAMA"},
		"clock alone":       {func(f *Facts) { f.ClockOK = false }, "clock", Warn, "nobody keeps it", "chrony"},
		"clock unknown":     {func(f *Facts) { f.ClockErr = errors.New("EPERM") }, "clock", Warn, "EPERM", ""},
	} {
		f := good()
		c.change(f)
		found := false
		for _, x := range f.Findings() {
			if x.What != c.what {
				continue
			}
			found = true
			if x.Level != c.level || !strings.Contains(x.Says, c.says) || !strings.Contains(x.Hint, c.hint) || c.level == OK && x.Hint != "" {
				t.Errorf("%s: %+v", name, x)
			}
		}
		if !found {
			t.Errorf("%s: nothing about %s", name, c.what)
		}
	}
}

// What this kernel says about itself fits what it is known to have.
func TestLook(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux only")
	}
	f := Look()
	if f.Release == "" || f.CorePattern == "" || f.MemlockErr != nil || f.ClockErr != nil && f.ClockOK {
		t.Errorf("%+v", f)
	}
	if f.LandlockABI == 0 && f.LandlockErr == nil || f.LandlockABI < 0 {
		t.Errorf("Landlock: ABI %d, %v", f.LandlockABI, f.LandlockErr)
	}
	for _, x := range f.Findings() {
		if x.What == "" || x.Says == "" || x.Level == Fail {
			t.Errorf("%+v", x)
		}
		t.Logf("%-4s %-14s %s (%s)", x.Level, x.What, x.Says, x.Hint)
	}
}
