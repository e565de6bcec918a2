package remote

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
)

// maxPending bounds the uses of keys that wait for the operator. More are refused: a
// vault that asks for more at once is out of its mind, or not itself.
const maxPending = 8

// outcomeWait is how long an operator waits to hear what the device made of his
// answer. What takes longer he finds in the log.
const outcomeWait = 30 * time.Second

// Desk is where a helper's device waits for its operator: for a PIN, or for signatures
// over the device's challenge. It listens on a socket of its own, which neither vault
// nor node knows. An answer is used for one challenge, once.
type Desk struct {
	// Wait bounds the wait for an answer; zero is MaxWait.
	Wait time.Duration
	Log  *slog.Logger

	mu      sync.Mutex // guards what follows
	last    uint64
	pending map[uint64]*waiting
}

// waiting is one challenge on the desk.
type waiting struct {
	Pending
	answer  chan hsm.Answer // takes one
	outcome chan error      // gets one, when an answer was taken
	until   time.Time
}

// Pending is a use of a key that waits for the operator.
type Pending struct {
	ID        uint64
	Left      time.Duration // until it is given up
	Challenge hsm.Challenge // of its statement, the domain only
	Statement [32]byte      // the digest of what will be signed, zero when a blob is opened
}

var _ hsm.Approver = (*Desk)(nil)

// Approve waits for the operator.
func (d *Desk) Approve(ctx context.Context, c hsm.Challenge) (hsm.Answer, error) {
	ap, done := d.attend()
	defer done(nil)
	return ap.Approve(ctx, c)
}

// attend is an approver for one request, and what tells the operator how that ended.
func (d *Desk) attend() (hsm.Approver, func(error)) {
	a := &attendance{desk: d}
	return a, a.done
}

type attendance struct {
	desk  *Desk
	asked []*waiting
}

func (a *attendance) done(err error) {
	for _, w := range a.asked {
		w.outcome <- err
	}
	a.asked = nil
}

func (a *attendance) Approve(ctx context.Context, c hsm.Challenge) (hsm.Answer, error) {
	w, err := a.desk.put(c)
	if err != nil {
		return hsm.Answer{}, err
	}
	ctx, cancel := context.WithDeadline(ctx, w.until)
	defer cancel()
	select {
	case answer := <-w.answer:
		a.asked = append(a.asked, w)
		return answer, nil
	case <-ctx.Done():
	}
	if a.desk.take(w.ID) == nil { // an answer came at the same moment
		answer := <-w.answer
		a.asked = append(a.asked, w)
		return answer, nil
	}
	return hsm.Answer{}, hsm.Errorf(hsm.ErrApproval, "run `coffer hsm authorize` while it waits, then ask again",
		"%s: the operator did not answer: %w", c.Use, context.Cause(ctx))
}

func (d *Desk) wait() time.Duration {
	if d.Wait <= 0 || d.Wait > MaxWait {
		return MaxWait
	}
	return d.Wait
}

func (d *Desk) put(c hsm.Challenge) (*waiting, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) >= maxPending {
		return nil, hsm.Errorf(hsm.ErrApproval, "answer or wait for those that are there", "%s: %d uses wait for the operator already", c.Use, maxPending)
	}
	if d.pending == nil {
		d.pending = make(map[uint64]*waiting)
	}
	d.last++
	w := &waiting{
		Pending: Pending{ID: d.last, Challenge: c},
		answer:  make(chan hsm.Answer, 1), outcome: make(chan error, 1),
		until: time.Now().Add(d.wait()),
	}
	if c.Statement != nil {
		w.Statement = c.Statement.Digest()
	}
	d.pending[w.ID] = w
	d.Log.Warn("waiting for the operator", "id", w.ID, "use", c.Use, "for", d.wait())
	return w, nil
}

// take takes a challenge off the desk, nil when somebody else has.
func (d *Desk) take(id uint64) *waiting {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.pending[id]
	delete(d.pending, id)
	return w
}

func (d *Desk) list() []Pending {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []Pending
	for _, w := range d.pending {
		p := w.Pending
		p.Left = max(time.Until(w.until), 0)
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Pending) int { return int(a.ID) - int(b.ID) })
	return list
}

// authorize hands an answer to the device and waits for what comes of it.
func (d *Desk) authorize(ctx context.Context, id uint64, answer hsm.Answer) error {
	w := d.take(id)
	if w == nil {
		answer.PIN.Destroy()
		return hsm.Errorf(hsm.ErrInput, "list what waits with `coffer hsm pending`", "nothing with the number %d waits for the operator", id)
	}
	w.answer <- answer
	d.Log.Warn("the operator answered", "id", id, "use", w.Challenge.Use)
	ctx, cancel := context.WithTimeout(ctx, outcomeWait)
	defer cancel()
	select {
	case err := <-w.outcome:
		return err
	case <-ctx.Done():
		return hsm.Errorf(hsm.ErrUnavailable, "look into the helper's log", "the device has not answered yet: %w", context.Cause(ctx))
	}
}

// Serve answers operators until ctx ends: processes of the helper's own user, and root.
func (d *Desk) Serve(ctx context.Context, l *Listener) error {
	return serveLoop(ctx, l, d.Log, checkOperator, d.serveConn)
}

// checkOperator lets root in, too.
func checkOperator(c *net.UnixConn, uid int) error {
	err := checkPeer(c, uid)
	if err != nil && checkPeer(c, 0) == nil {
		return nil
	}
	return err
}

// serveConn answers one request after the other.
func (d *Desk) serveConn(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for ctx.Err() == nil {
		if err := c.SetReadDeadline(time.Now().Add(MaxWait)); err != nil {
			return
		}
		frame, err := readFrame(c, maxDeskRequest)
		if err != nil && !errors.Is(err, errFrame) {
			return
		}
		var q deskRequest
		if err == nil {
			q, err = decodeDeskRequest(frame)
			secret.Wipe(frame) // it may hold a PIN
		}
		p := deskReply{op: q.op}
		switch {
		case err != nil:
			p.fail(hsm.Errorf(hsm.ErrInput, "", "refused: %w", err))
		case q.op == deskPending:
			p.list = d.list()
		default:
			if aerr := d.authorize(ctx, q.id, hsm.Answer{PIN: q.pin, Approvals: q.approvals}); aerr != nil {
				p.fail(aerr)
			}
		}
		if werr := writeFrame(c, p.encode()); werr != nil || err != nil {
			return
		}
	}
}

// checkDesk refuses to tell a PIN to anybody but the helper: it runs as this user, or,
// when root asks, as the owner of the socket's directory.
func checkDesk(c net.Conn, path string) error {
	uid := os.Geteuid()
	if uid == 0 {
		info, err := os.Stat(filepath.Dir(path))
		if err != nil {
			return hsm.Errorf(hsm.ErrConfig, "", "the operator's socket %s: %w", path, err)
		}
		uid = ownerOf(info)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return hsm.Errorf(hsm.ErrConfig, "", "the operator's socket %s is no unix socket", path)
	}
	if err := checkPeer(u, uid); err != nil {
		return hsm.Errorf(hsm.ErrConfig, "ask as the helper's user, and give the socket a directory of that user's own", "the operator's socket %s is not served by user %d: %w", path, uid, err)
	}
	return nil
}

// askDesk makes one request to a helper's desk.
func askDesk(ctx context.Context, path string, q deskRequest) (deskReply, error) {
	gone := func(err error) error {
		return hsm.Errorf(hsm.ErrUnavailable, "is the helper running, and is this its operator's socket?", "the operator's socket %s does not answer: %w", path, err)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return deskReply{}, gone(err)
	}
	defer c.Close()
	if err := checkDesk(c, path); err != nil {
		return deskReply{}, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	body := q.encode()
	err = writeFrame(c, body)
	secret.Wipe(body)
	if err != nil {
		return deskReply{}, gone(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(outcomeWait + frameTimeout)); err != nil {
		return deskReply{}, gone(err)
	}
	frame, err := readFrame(c, maxDeskReply)
	if err != nil {
		return deskReply{}, gone(errors.Join(context.Cause(ctx), err))
	}
	p, err := decodeDeskReply(frame)
	if err != nil {
		return deskReply{}, gone(err)
	}
	return p, p.err()
}

// ListPending asks a helper's desk what waits for the operator.
func ListPending(ctx context.Context, path string) ([]Pending, error) {
	p, err := askDesk(ctx, path, deskRequest{op: deskPending})
	return p.list, err
}

// Authorize answers one challenge, and returns what the device made of it. It destroys
// the answer's PIN, which the device tries once.
func Authorize(ctx context.Context, path string, id uint64, answer hsm.Answer) error {
	defer answer.PIN.Destroy()
	_, err := askDesk(ctx, path, deskRequest{op: deskAuthorize, id: id, pin: answer.PIN, approvals: answer.Approvals})
	return err
}
