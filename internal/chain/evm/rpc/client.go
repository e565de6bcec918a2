package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	// callTimeout bounds one call. When it fires the node is slow or gone; the
	// coordinator tries again later.
	callTimeout = 15 * time.Second
	// maxAnswer bounds what is read of one answer; code and receipts are the
	// largest that are asked for.
	maxAnswer = 4 << 20
)

// Client calls one node of one chain. It is safe for concurrent use.
type Client struct {
	url     string
	host    string // what errors show: the URL may hold an API key
	chainID uint64
	http    *http.Client
	checked atomic.Bool // the node said that it is on chainID
	id      atomic.Uint64
}

// New makes a client for the chain with this id. It does not connect: the first
// call also asks which chain the node is on.
func New(rawURL string, chainID uint64) (*Client, error) {
	u, err := url.Parse(rawURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("node's URL: want http://HOST:PORT or https://HOST")
	}
	if chainID == 0 {
		return nil, errors.New("chain id 0, want the id of the chain that the node is on")
	}
	return &Client{url: rawURL, host: u.Host, chainID: chainID, http: &http.Client{
		Timeout: callTimeout,
		// A node has no reason to send callers elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the node redirects, which is refused") },
	}}, nil
}

// Error is what the node answered: it was reached and said no.
type Error struct {
	Method  string
	Code    int
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: the node answers with error %d: %.300s", e.Method, e.Code, e.Message)
}

// TransportError says that no usable answer came: it is unknown whether the call
// had its effect.
type TransportError struct {
	Method, Host string
	Err          error
}

func (e *TransportError) Error() string {
	return fmt.Sprintf("%s: no answer from the node at %s: %v", e.Method, e.Host, e.Err)
}

func (e *TransportError) Unwrap() error { return e.Err }

// WrongChainError says that the node is on another chain. Nothing was asked of
// it but that.
type WrongChainError struct {
	Host      string
	Got, Want uint64
}

func (e *WrongChainError) Error() string {
	return fmt.Sprintf("the node at %s is on chain %d, want %d", e.Host, e.Got, e.Want)
}

// Do makes one call and decodes its result. The methods of Client wrap it; it is
// exported for what only a development node offers.
func (c *Client) Do(ctx context.Context, result any, method string, params ...any) error {
	if !c.checked.Load() {
		if err := c.checkChain(ctx); err != nil {
			return err
		}
	}
	return c.call(ctx, result, method, params...)
}

func (c *Client) checkChain(ctx context.Context) error {
	var id quantity
	if err := c.call(ctx, &id, "eth_chainId"); err != nil {
		return err
	}
	if id.Int != *new(quantity).SetUint64(c.chainID) {
		return &WrongChainError{Host: c.host, Got: id.Uint64(), Want: c.chainID}
	}
	c.checked.Store(true)
	return nil
}

type request struct {
	Version string `json:"jsonrpc"`
	ID      uint64 `json:"id"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      *uint64         `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (c *Client) call(ctx context.Context, result any, method string, params ...any) error {
	fail := func(err error) error {
		var u *url.Error // its text holds the whole URL
		if errors.As(err, &u) {
			err = u.Err
		}
		return &TransportError{Method: method, Host: c.host, Err: err}
	}
	if params == nil {
		params = []any{}
	}
	id := c.id.Add(1)
	body, err := json.Marshal(request{"2.0", id, method, params})
	if err != nil {
		return fmt.Errorf("couldn't encode the call of %s: %w", method, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fail(err)
	}
	if len(answer) > maxAnswer {
		return fail(fmt.Errorf("answer above %d bytes", maxAnswer))
	}
	var r response
	// Some nodes send an error of the protocol with an HTTP status of their own,
	// so that the body decides first.
	if err := json.Unmarshal(answer, &r); err != nil || r.Version != "2.0" {
		return fail(fmt.Errorf("HTTP status %d and not a JSON-RPC answer: %.80q", resp.StatusCode, answer))
	}
	if r.Error != nil {
		return &Error{Method: method, Code: r.Error.Code, Message: r.Error.Message}
	}
	if resp.StatusCode != http.StatusOK || r.ID == nil || *r.ID != id || r.Result == nil {
		return fail(fmt.Errorf("HTTP status %d and an answer to another call, or to none", resp.StatusCode))
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return fail(fmt.Errorf("result %.80q: %w", r.Result, err))
	}
	return nil
}
