package derive

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer/internal/wire"
)

// Path is the way from a key to its child: one index a step, none of them
// hardened. The empty path is the key itself.
type Path []uint32

// Bounds of a path.
const (
	MaxDepth = 32
	hardened = 1 << 31 // and above: indices that take a private key
)

const pathVersion = 1

// ParsePath reads what String writes: "m", "m/44/60/0/0/7".
func ParsePath(s string) (Path, error) {
	steps := strings.Split(s, "/")
	if steps[0] != "m" {
		return nil, fmt.Errorf("path %.80q does not begin with m, want for example m/0/7", s)
	}
	steps = steps[1:]
	if len(steps) > MaxDepth {
		return nil, fmt.Errorf("path has %d steps, at most %d", len(steps), MaxDepth)
	}
	p := make(Path, len(steps))
	for k, step := range steps {
		if strings.HasSuffix(step, "'") || strings.HasSuffix(step, "h") || strings.HasSuffix(step, "H") {
			return nil, fmt.Errorf("step %d of the path, %.20q, is hardened: that takes the private key, which nobody has; want an index below %d", k+1, step, hardened)
		}
		i, err := strconv.ParseUint(step, 10, 32)
		if err != nil || strconv.FormatUint(i, 10) != step {
			return nil, fmt.Errorf("step %d of the path, %.20q, is no index, want a number below %d", k+1, step, hardened)
		}
		p[k] = uint32(i)
	}
	return p, p.Check()
}

// Check demands at most MaxDepth steps, none of them hardened.
func (p Path) Check() error {
	if len(p) > MaxDepth {
		return fmt.Errorf("path has %d steps, at most %d", len(p), MaxDepth)
	}
	for k, i := range p {
		if i >= hardened {
			return fmt.Errorf("step %d of the path, index %d, is hardened: that takes the private key, which nobody has; want an index below %d", k+1, i, hardened)
		}
	}
	return nil
}

// String is for people.
func (p Path) String() string {
	var b strings.Builder
	b.WriteByte('m')
	for _, i := range p {
		b.WriteByte('/')
		b.WriteString(strconv.FormatUint(uint64(i), 10))
	}
	return b.String()
}

// Encode is what sessions bind: one string of bytes for each path.
func (p Path) Encode() []byte {
	w := wire.NewWriter(pathVersion).Count(len(p))
	for _, i := range p {
		w.Uint32(i)
	}
	return w.Bytes()
}

// DecodePath is strict, and checks the path.
func DecodePath(b []byte) (Path, error) {
	r := wire.NewReader(b, pathVersion)
	p := make(Path, r.Count("steps", MaxDepth, 4))
	for k := range p {
		p[k] = r.Uint32("index")
	}
	err := r.Done()
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode derivation path: %w", err)
	}
	return p, nil
}
