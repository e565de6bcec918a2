package risk

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// ProviderConfig is a service that is asked over HTTP and signs what it answers.
type ProviderConfig struct {
	Name    string        `toml:"name"`
	URL     string        `toml:"url"`
	Key     string        `toml:"key"`     // "ed25519:…", which signs its answers
	Timeout time.Duration `toml:"timeout"` // 0: checks.timeout
}

type provider struct {
	cfg    ProviderConfig
	key    ed25519.PublicKey
	client *http.Client
}

const (
	// SignatureHeader holds base64 of the Ed25519 signature over ProviderDomain, a
	// newline, and the answer's body.
	SignatureHeader = "Coffer-Signature"
	ProviderDomain  = "coffer/risk-provider/v1"

	maxAnswer    = 64 << 10
	maxAnswerAge = 5 * time.Minute
)

func newProvider(cfg ProviderConfig, timeout time.Duration) (*provider, error) {
	if err := wire.CheckName(cfg.Name); err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	if err := config.CheckService(cfg.URL); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	k, err := signature.ParseText(cfg.Key)
	if err != nil || k.Algorithm != signature.Ed25519 {
		return nil, errors.New("key: want ed25519:… of whoever signs the answers")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = timeout
	}
	if cfg.Timeout < 0 || cfg.Timeout > time.Minute {
		return nil, fmt.Errorf("timeout is %v: want up to 1m", cfg.Timeout)
	}
	return &provider{cfg, ed25519.PublicKey(k.Key), &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects: name the final address") },
	}}, nil
}

// providerQuestion is what a provider is asked, as JSON.
type providerQuestion struct {
	Version   int                 `json:"version"` // 1
	Request   string              `json:"request"` // its id, 64 hex digits
	Chain     string              `json:"chain"`
	Sender    string              `json:"sender"`
	Transfers []providerTransfer  `json:"transfers"`
	Spenders  []providerAllowance `json:"allowances"`
	Contracts []string            `json:"contracts"`
}

type providerTransfer struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Asset  string `json:"asset"`
	Amount string `json:"amount"` // smallest unit, decimal
}

type providerAllowance struct {
	Spender string `json:"spender"`
	Asset   string `json:"asset"`
	Amount  string `json:"amount"`
}

// providerAnswer is what it says.
type providerAnswer struct {
	Version int      `json:"version"` // 1
	Request string   `json:"request"` // the one that was asked about
	Outcome string   `json:"outcome"` // pass, hold or deny
	Reasons []string `json:"reasons"`
	Time    string   `json:"time"` // RFC 3339
}

func questionOf(id [32]byte, x *chain.Effects) *providerQuestion {
	q := &providerQuestion{Version: 1, Request: hex.EncodeToString(id[:]), Chain: x.Chain, Sender: x.Sender,
		Transfers: []providerTransfer{}, Spenders: []providerAllowance{}, Contracts: []string{}}
	for i := range x.Transfers {
		t := &x.Transfers[i]
		q.Transfers = append(q.Transfers, providerTransfer{t.From, t.To, t.Asset, t.Amount.Dec()})
	}
	for i := range x.Approvals {
		a := &x.Approvals[i]
		q.Spenders = append(q.Spenders, providerAllowance{a.Spender, a.Asset, a.Amount.Dec()})
	}
	for i := range x.Calls {
		q.Contracts = append(q.Contracts, x.Calls[i].To)
	}
	return q
}

// ask puts the question. Whatever is not a signed, fresh answer to it is an error.
func (p *provider) ask(ctx context.Context, q *providerQuestion, now time.Time) (*providerAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, config.WithoutAddress(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers with status %d, want 200", resp.StatusCode)
	case len(b) > maxAnswer:
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	sig, err := base64.StdEncoding.DecodeString(resp.Header.Get(SignatureHeader))
	if err != nil || !ed25519.Verify(p.key, append([]byte(ProviderDomain+"\n"), b...), sig) {
		return nil, fmt.Errorf("its answer is not signed by %s (header %s)", p.cfg.Key, SignatureHeader)
	}
	return decodeAnswer(b, q, now)
}

func decodeAnswer(b []byte, q *providerQuestion, now time.Time) (*providerAnswer, error) {
	a := new(providerAnswer)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(a); err != nil {
		return nil, fmt.Errorf("its answer: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("its answer goes on after the end")
	}
	t, err := time.Parse(time.RFC3339, a.Time)
	switch {
	case a.Version != 1:
		return nil, fmt.Errorf("its answer has version %d, want 1", a.Version)
	case a.Request != q.Request:
		return nil, fmt.Errorf("it answers about request %.64q, asked was %s", a.Request, q.Request)
	case err != nil:
		return nil, fmt.Errorf("its answer has time %.40q, want RFC 3339", a.Time)
	case now.Sub(t).Abs() > maxAnswerAge:
		return nil, fmt.Errorf("its answer is of %s, want one of now", a.Time)
	case a.outcome() == 0:
		return nil, fmt.Errorf("its outcome is %.40q, want pass, hold or deny", a.Outcome)
	}
	return a, nil
}

func (a *providerAnswer) outcome() request.Outcome {
	for _, o := range []request.Outcome{request.Pass, request.Hold, request.Deny} {
		if a.Outcome == o.String() {
			return o
		}
	}
	return 0
}

// providers asks all of them at once. One that does not answer means no verdict.
func (e *Engine) ask(ctx context.Context, f *findings, id [32]byte, x *chain.Effects, now time.Time) error {
	if len(e.providers) == 0 {
		return nil
	}
	q := questionOf(id, x)
	type said struct {
		answer *providerAnswer
		err    error
	}
	answers := make([]chan said, len(e.providers))
	for i, p := range e.providers {
		answers[i] = make(chan said, 1)
		go func() {
			a, err := p.ask(ctx, q, now)
			answers[i] <- said{a, err}
		}()
	}
	var errs []error
	for i, p := range e.providers {
		s := <-answers[i]
		if s.err != nil {
			errs = append(errs, fmt.Errorf("provider %s: %w", p.cfg.Name, s.err))
			continue
		}
		why := strings.Join(s.answer.Reasons, "; ")
		switch s.answer.outcome() {
		case request.Hold:
			f.add(e.checks.Hold, "provider %s says hold: %s", p.cfg.Name, why)
		case request.Deny:
			f.add(maxScore, "provider %s says deny: %s", p.cfg.Name, why)
		}
	}
	return errors.Join(errs...)
}
