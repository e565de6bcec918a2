package cage

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
)

// Report says what holds a process, in the order in which it was applied.
type Report []Part

// Part is one of the holds.
type Part struct {
	Name  string // "landlock"
	State string // "on, abi 7", or why not
	Weak  bool   // it is not applied, or not in full
}

func (r *Report) ok(name, format string, args ...any) {
	*r = append(*r, Part{Name: name, State: fmt.Sprintf(format, args...)})
}

func (r *Report) weak(name, format string, args ...any) {
	*r = append(*r, Part{Name: name, State: fmt.Sprintf(format, args...), Weak: true})
}

// Texts are the parts as "name: state".
func (r Report) Texts() []string {
	out := make([]string, len(r))
	for i, p := range r {
		out[i] = p.Name + ": " + p.State
	}
	return out
}

// Missing are the parts that are not applied in full, as one sentence; empty when
// there are none.
func (r Report) Missing() string {
	var out []string
	for _, p := range r {
		if p.Weak {
			out = append(out, p.Name+": "+p.State)
		}
	}
	return strings.Join(out, "; ")
}

// User is a user of this system.
type User struct {
	Name     string
	UID, GID int
}

// LookupUser finds a user by name or number. A number needs no entry in the
// system's list; its group is then the number too.
func LookupUser(name string) (User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		id, numErr := strconv.ParseUint(name, 10, 31)
		if numErr != nil {
			return User{}, fmt.Errorf("user %q: %w", name, err)
		}
		if u, err = user.LookupId(name); err != nil {
			return User{Name: name, UID: int(id), GID: int(id)}, nil
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return User{}, fmt.Errorf("user %q has id %q, want a number", name, u.Uid)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return User{}, fmt.Errorf("user %q has group %q, want a number", name, u.Gid)
	}
	return User{Name: u.Username, UID: uid, GID: gid}, nil
}

// PeerUID is the uid that a configuration key names for the process at the other
// end of a socket, or own when the key is empty.
func PeerUID(key, name string, own int) (int, error) {
	if name == "" {
		return own, nil
	}
	u, err := LookupUser(name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return u.UID, nil
}
