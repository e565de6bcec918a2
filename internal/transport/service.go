package transport

import (
	"context"
	"errors"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/cofferhq/coffer/internal/wire"
)

// serve connects a service as a user of the broker and has it answer the coordinator's
// questions, one after the other. It does not wait for the broker. failed is logged
// when there is no answer.
func serve(cfg ClientConfig, cluster [32]byte, user string, subject func(subjects) string, answer func(question []byte) ([]byte, error), failed string, log *slog.Logger) (*client, error) {
	c, err := connect(cfg, cluster, user, log)
	if err != nil {
		return nil, err
	}
	err = c.subscribe(subject(c.s), func(m *nats.Msg) {
		b, err := answer(m.Data)
		r := &ReadResult{Body: b}
		if err != nil {
			log.Warn(failed, "err", err)
			r = &ReadResult{Failed: wire.CleanText("it failed: "+err.Error(), maxText)}
		}
		if m.Reply == "" {
			return
		}
		if err := m.Respond(r.Encode()); err != nil {
			log.Warn("couldn't answer the coordinator", "err", err)
		}
	})
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

var errNoService = errors.New("it is not connected, or does not answer")

// service asks one, and has its answer.
func (c *Coordinator) service(ctx context.Context, subject string, question []byte) ([]byte, error) {
	b, err := c.request(ctx, subject, question, ackTimeout)
	if errors.Is(err, ErrUnreachable) {
		return nil, errNoService
	}
	if err != nil {
		return nil, err
	}
	r, err := DecodeReadResult(b)
	if err != nil {
		return nil, err
	}
	if r.Failed != "" {
		return nil, errors.New(r.Failed)
	}
	return r.Body, nil
}
