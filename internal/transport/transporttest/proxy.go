// Package transporttest is a hostile broker for tests: a proxy between a client
// and the real broker that understands enough of the NATS protocol to read,
// drop, repeat, reorder, alter and redirect what the client receives.
package transporttest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Message is one message on its way to a client. Subscription is the client's
// number of the subscription, by which it tells its handlers apart: the subject
// alone redirects nothing.
type Message struct {
	Subject, Subscription, Reply string
	Payload                      []byte
}

// Filter says what a client receives instead of a message. It may keep messages
// and return them with a later one. It is called by one goroutine at a time.
type Filter func(Message) []Message

// Proxy stands in front of a broker.
type Proxy struct {
	URL string

	ln     net.Listener
	target string
	filter Filter
	wg     sync.WaitGroup

	mu    sync.Mutex // guards conns, and is held while filter runs
	conns map[net.Conn]bool
}

// New starts a proxy in front of the broker at url, "nats://HOST:PORT".
func New(t testing.TB, url string, filter Filter) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		URL: "nats://" + ln.Addr().String(), ln: ln, target: strings.TrimPrefix(url, "nats://"),
		filter: filter, conns: map[net.Conn]bool{},
	}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Cut breaks all connections, as a failing network does.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[broker] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.relay(client, func() error { _, err := io.Copy(broker, client); return err }, broker) })
		p.wg.Go(func() { p.relay(client, func() error { return p.down(broker, client) }, broker) })
	}
}

func (p *Proxy) relay(client net.Conn, run func() error, broker net.Conn) {
	_ = run()
	_, _ = client.Close(), broker.Close()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, broker)
	p.mu.Unlock()
}

// down relays what the broker sends.
func (p *Proxy) down(broker io.Reader, client io.Writer) error {
	br := bufio.NewReader(broker)
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return err
		}
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "MSG" && f[0] != "HMSG" {
			if _, err := io.WriteString(client, line); err != nil {
				return err
			}
			continue
		}
		n, err := strconv.Atoi(f[len(f)-1])
		if err != nil {
			return err
		}
		payload := make([]byte, n+2)
		if _, err := io.ReadFull(br, payload); err != nil {
			return err
		}
		if f[0] == "HMSG" {
			_, err = client.Write(append([]byte(line), payload...))
		} else {
			m := Message{Subject: f[1], Subscription: f[2], Payload: payload[:n]}
			if len(f) == 5 {
				m.Reply = f[3]
			}
			_, err = client.Write(p.filtered(m))
		}
		if err != nil {
			return err
		}
	}
}

func (p *Proxy) filtered(m Message) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out bytes.Buffer
	for _, x := range p.filter(m) {
		fmt.Fprintf(&out, "MSG %s %s %s %d\r\n%s\r\n", x.Subject, x.Subscription, x.Reply, len(x.Payload), x.Payload)
	}
	return out.Bytes()
}
