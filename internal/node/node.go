package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/transport"
	"github.com/cofferhq/coffer/internal/vaultlink"
	"github.com/cofferhq/coffer/internal/wire"
)

// Times and bounds.
const (
	// helloTimeout is how long a vault has for its first message. A longer one
	// only delays the operator's error.
	helloTimeout = 10 * time.Second
	// dialFirst and dialLongest bound the waits for a vault that is not there.
	dialFirst, dialLongest = 50 * time.Millisecond, 2 * time.Second
	// maxUnread is how many bytes may wait for the vault before frames are
	// dropped. It is far below what the link itself allows, so that Persisted
	// always gets through.
	maxUnread = 16 << 20
	// maxOpen bounds the commands that the vault has not answered.
	maxOpen = 512
)

// node is one run of Run.
type node struct {
	log     *slog.Logger
	cfg     *Config
	store   *store
	started time.Time
	longest time.Duration // between two connections to a vault that fails
	uid     int           // of the vault's socket

	publisher *publisher // nil: the log is not shown

	vault   uint16
	broker  *transport.Node // nil until the vault has said which cluster
	changes atomic.Uint64
	in, out atomic.Uint64 // frames
	dropped atomic.Uint64
	taken   atomic.Uint64 // commands

	mu     sync.Mutex // guards the fields below
	link   *vaultlink.Conn
	nextID uint64
	open   map[uint64]func(body []byte) // commands that the vault has not answered
	detail string                       // why there is no link
}

// errFatal marks what a new connection to the vault does not mend.
type errFatal struct{ error }

func (e errFatal) Unwrap() error { return e.error }

// errDone ends a connection whose work is finished.
var errDone = errors.New("done")

// Run hosts a vault until ctx ends, which is no error, or the store fails. It
// waits for a vault and a broker that are not there yet, or not any more. It
// returns nil, too, when the vault was there only to be enrolled and is done.
func Run(ctx context.Context, cfg *Config, log *slog.Logger) error {
	return run(ctx, cfg, log, dialLongest)
}

func run(ctx context.Context, cfg *Config, log *slog.Logger, longest time.Duration) error {
	uid, err := cage.PeerUID("node.vault-user", cfg.Node.VaultUser, os.Geteuid())
	if err != nil {
		return err
	}
	s, err := openStore(cfg.Node.Dir)
	if err != nil {
		return err
	}
	n := &node{log: log, cfg: cfg, store: s, longest: longest, uid: uid, started: time.Now(), open: map[uint64]func([]byte){}, detail: "the vault was not here yet"}
	if n.publisher, err = n.publish(ctx); err != nil {
		return errors.Join(err, s.close())
	}
	err = n.host(ctx)
	if n.broker != nil {
		n.broker.Close()
	}
	return errors.Join(err, s.close())
}

// host serves one connection to the vault after the other.
func (n *node) host(ctx context.Context) error {
	wait := dialFirst
	for {
		link, err := n.dial(ctx)
		if err != nil {
			return nil // only ctx ends dialling
		}
		begun := time.Now()
		err = n.serve(ctx, link)
		var fatal errFatal
		switch {
		case errors.As(err, &fatal):
			return fatal.error
		case errors.Is(err, errDone), ctx.Err() != nil:
			return nil
		}
		n.log.Warn("lost the vault", "err", err)
		if time.Since(begun) > n.longest {
			wait = dialFirst
		}
		if !sleep(ctx, min(wait, n.longest)) {
			return nil
		}
		wait = min(2*wait, n.longest)
	}
}

// dial waits until a vault listens. It fails only when ctx ends.
func (n *node) dial(ctx context.Context) (*vaultlink.Conn, error) {
	told := false
	for {
		link, err := vaultlink.DialUser(ctx, n.cfg.Node.Socket, n.uid)
		if err == nil {
			return link, nil
		}
		if !told && ctx.Err() == nil {
			n.log.Info("waiting for the vault", "socket", n.cfg.Node.Socket, "err", err)
			told = true
		}
		if !sleep(ctx, dialFirst) {
			return nil, ctx.Err()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// serve runs one connection to its end.
func (n *node) serve(ctx context.Context, link *vaultlink.Conn) error {
	stop := context.AfterFunc(ctx, link.Close)
	defer link.Close()
	defer stop()
	if err := n.greet(ctx, link); err != nil {
		return err
	}
	defer n.detach("the vault is not running")
	for seq := uint64(1); ; {
		m, err := link.Receive()
		if err != nil {
			return fmt.Errorf("couldn't read from the vault: %w", err)
		}
		switch m := m.(type) {
		case *vaultlink.Persist:
			if m.Seq != seq {
				return n.bye(link, fmt.Errorf("change %d came, want %d", m.Seq, seq))
			}
			if err := n.store.persist(m); err != nil {
				return n.bye(link, errFatal{err})
			}
			n.changes.Add(1)
			if err := link.Send(&vaultlink.Persisted{Seq: seq}); err != nil {
				return err
			}
			seq++
		case *vaultlink.Frame:
			n.sendFrame(m)
		case *vaultlink.Reply:
			n.reply(m)
		case *vaultlink.Bye:
			return n.farewell(m)
		default:
			return n.bye(link, fmt.Errorf("a %s message came, want persist, frame, reply or bye", vaultlink.Name(m)))
		}
	}
}

// greet learns who the vault is, hands it what the disk holds, and joins the
// broker.
func (n *node) greet(ctx context.Context, link *vaultlink.Conn) error {
	link.SetReadDeadline(time.Now().Add(helloTimeout))
	m, err := link.Receive()
	if err != nil {
		return fmt.Errorf("couldn't read the vault's hello: %w", err)
	}
	link.SetReadDeadline(time.Time{})
	if bye, ok := m.(*vaultlink.Bye); ok {
		return n.farewell(bye)
	}
	hello, ok := m.(*vaultlink.Hello)
	if !ok {
		return n.bye(link, fmt.Errorf("a %s message came first, want hello", vaultlink.Name(m)))
	}
	if err := n.store.bind(hello.Vault, hello.Cluster); err != nil {
		return n.bye(link, errFatal{err})
	}
	if n.broker == nil { // else it is the same, and read by others
		n.vault = hello.Vault
	}
	if err := n.load(ctx, link); err != nil {
		return err
	}
	if n.broker == nil && hello.Cluster != [32]byte{} {
		h := transport.Handlers{Frame: n.onFrame, Command: n.onCommand, Read: n.onRead}
		if n.broker, err = transport.ConnectNode(n.cfg.Broker, hello.Cluster, hello.Vault, h, n.log); err != nil {
			return n.bye(link, errFatal{err})
		}
	}
	n.mu.Lock()
	n.link, n.detail = link, ""
	n.mu.Unlock()
	size, _ := n.store.head()
	n.log.Info("vault connected", "vault", hello.Vault, "cluster", fmt.Sprintf("%x", hello.Cluster[:4]), "log_entries", size)
	n.event()
	return nil
}

func (n *node) load(ctx context.Context, link *vaultlink.Conn) error {
	var sendErr error
	err := n.store.load(func(part *vaultlink.Load) error {
		if sendErr = link.Send(part); sendErr == nil {
			sendErr = link.Drain(ctx)
		}
		return sendErr
	})
	if err != nil && sendErr == nil {
		return n.bye(link, errFatal{err})
	}
	return err
}

// bye tells the vault why the connection ends.
func (n *node) bye(link *vaultlink.Conn, err error) error {
	_ = link.Send(&vaultlink.Bye{Text: wire.CleanText("the node: "+err.Error(), vaultlink.MaxText)}) // it may be gone
	return err
}

func (n *node) farewell(m *vaultlink.Bye) error {
	if m.Done {
		n.log.Info("the vault is done", "text", m.Text)
		return errDone
	}
	return fmt.Errorf("the vault stopped: %s", m.Text)
}

// detach ends what hung on the connection: every command gets its one reply.
func (n *node) detach(why string) {
	n.mu.Lock()
	n.link, n.detail = nil, why
	open := n.open
	n.open = map[uint64]func([]byte){}
	n.mu.Unlock()
	failed := cluster.Reply{Vault: n.vault, Outcome: cluster.OutcomeFailed, Detail: "the vault stopped before it had answered"}
	for _, reply := range open {
		reply(failed.Encode())
	}
	n.event()
}

func (n *node) sendFrame(m *vaultlink.Frame) {
	if n.broker == nil {
		n.log.Warn("dropped a frame of a vault that belongs to no cluster")
		return
	}
	if err := n.broker.SendFrame(m.Peer, m.Bytes); err != nil {
		n.log.Warn("couldn't send a frame", "to", m.Peer, "err", err)
		return
	}
	n.out.Add(1)
}

func (n *node) reply(m *vaultlink.Reply) {
	n.mu.Lock()
	reply, ok := n.open[m.ID]
	delete(n.open, m.ID)
	n.mu.Unlock()
	if !ok {
		n.log.Warn("the vault replied to no command", "id", m.ID)
		return
	}
	reply(m.Body)
}

// onFrame hands a frame from the broker to the vault, if it keeps up.
func (n *node) onFrame(frame []byte) {
	n.mu.Lock()
	link := n.link
	n.mu.Unlock()
	if link == nil || len(frame) == 0 || len(frame) > vaultlink.MaxFrame || link.Queued() > maxUnread ||
		link.Send(&vaultlink.Frame{Bytes: frame}) != nil {
		n.dropped.Add(1)
		return
	}
	n.in.Add(1)
}

func (n *node) onCommand(body []byte, reply func([]byte)) error {
	if len(body) > vaultlink.MaxBody {
		return fmt.Errorf("command of %d bytes, at most %d", len(body), vaultlink.MaxBody)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.link == nil:
		return errors.New(n.detail)
	case len(n.open) >= maxOpen:
		return fmt.Errorf("%d commands wait for the vault's reply, at most %d may", len(n.open), maxOpen)
	case n.link.Queued() > maxUnread:
		return errors.New("the vault does not keep up")
	}
	n.nextID++
	if err := n.link.Send(&vaultlink.Command{ID: n.nextID, Body: body}); err != nil {
		return err
	}
	n.open[n.nextID] = reply
	n.taken.Add(1)
	return nil
}

func (n *node) onRead(q *transport.Read) *transport.ReadResult {
	if q.Kind == transport.ReadStatus {
		return &transport.ReadResult{Body: n.status().Encode()}
	}
	if q.Kind == transport.ReadCosigned {
		return n.cosigned()
	}
	cp, b, total, err := n.store.readLog(q.Offset, transport.MaxLogPart)
	if err != nil {
		return &transport.ReadResult{Failed: wire.CleanText(err.Error(), 512)}
	}
	return &transport.ReadResult{Body: (&transport.LogPart{Total: total, Checkpoint: cp, Bytes: b}).Encode()}
}

func (n *node) status() *transport.NodeStatus {
	st := &transport.NodeStatus{
		Vault: n.vault, Started: uint64(n.started.UnixMilli()), Changes: n.changes.Load(), FramesIn: n.in.Load(),
		FramesOut: n.out.Load(), Dropped: n.dropped.Load(), Commands: n.taken.Load(),
	}
	st.LogSize, _ = n.store.head()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(n.cfg.Node.Dir, &fs); err == nil {
		st.DiskFree = fs.Bavail * uint64(fs.Bsize)
	}
	n.mu.Lock()
	st.Connected, st.Detail = n.link != nil, n.detail
	n.mu.Unlock()
	return st
}

func (n *node) event() {
	if n.broker == nil {
		return
	}
	if err := n.broker.SendEvent(n.status()); err != nil {
		n.log.Debug("couldn't send an event", "err", err)
	}
}
