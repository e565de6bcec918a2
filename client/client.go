package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/audit/logfile"
)

// Client talks to one coordinator.
type Client struct {
	url   string
	token string
	http  *http.Client
}

// Bounds of an exchange.
const (
	maxAnswer = 32 << 20
	// slack is how much longer than a long poll the client waits for its answer.
	slack = 15 * time.Second
	// callTimeout bounds every other call; keygen is the slowest.
	callTimeout = 90 * time.Second
)

// New makes a client of the API at base, e.g. "http://127.0.0.1:8420". The token
// permits reads; without one only writes work.
func New(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("API %q: want http://HOST:PORT", base)
	}
	return &Client{url: u.Scheme + "://" + u.Host, token: token, http: &http.Client{}}, nil
}

// ReadToken reads the token's file.
func ReadToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("couldn't read the API's token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Cluster tells about the cluster.
func (c *Client) Cluster(ctx context.Context) (*Cluster, error) {
	return get[Cluster](ctx, c, "/v1/cluster", callTimeout)
}

// Vaults asks every vault how it is.
func (c *Client) Vaults(ctx context.Context) ([]Vault, error) {
	return list[Vault](ctx, c, "/v1/vaults")
}

// Limits asks every vault how much of the policy's limits is used.
func (c *Client) Limits(ctx context.Context) (*Limits, error) {
	return get[Limits](ctx, c, "/v1/limits", callTimeout)
}

// Wallets lists the wallets.
func (c *Client) Wallets(ctx context.Context) ([]Wallet, error) {
	return list[Wallet](ctx, c, "/v1/wallets")
}

// Wallet finds a wallet by name or by (the beginning of) its id.
func (c *Client) Wallet(ctx context.Context, name string) (*Wallet, error) {
	return get[Wallet](ctx, c, "/v1/wallets/"+url.PathEscape(name), callTimeout)
}

// CreateWallet has the vaults make a key, by an order of OrderWallet. The same
// order again is the same wallet.
func (c *Client) CreateWallet(ctx context.Context, order string) (*Wallet, error) {
	return post[Wallet](ctx, c, "/v1/wallets", map[string]string{"order": order})
}

// Propose hands a signed request in. The same one again is the same request.
func (c *Client) Propose(ctx context.Context, p *Proposal) (*Request, error) {
	return post[Request](ctx, c, "/v1/requests", p)
}

// Requests lists the newest requests, of one state or ("") of all.
func (c *Client) Requests(ctx context.Context, state string) ([]Request, error) {
	return list[Request](ctx, c, "/v1/requests?state="+url.QueryEscape(state))
}

// Request tells everything about one request.
func (c *Client) Request(ctx context.Context, id string) (*Request, error) {
	return get[Request](ctx, c, "/v1/requests/"+url.PathEscape(id), callTimeout)
}

// Approve hands in a person's yes or no.
func (c *Client) Approve(ctx context.Context, id, approval string) (*Request, error) {
	return post[Request](ctx, c, "/v1/requests/"+url.PathEscape(id)+"/approvals", map[string]string{"approval": approval})
}

// ApproveDevices hands in what a person signed for the vaults' devices.
func (c *Client) ApproveDevices(ctx context.Context, id string, as []DeviceApproval) (*Request, error) {
	return post[Request](ctx, c, "/v1/requests/"+url.PathEscape(id)+"/device-approvals", map[string]any{"approvals": as})
}

// Cancel takes a request back.
func (c *Client) Cancel(ctx context.Context, id, cancellation string) (*Request, error) {
	return post[Request](ctx, c, "/v1/requests/"+url.PathEscape(id)+"/cancel", map[string]string{"cancellation": cancellation})
}

// Bring hands in the transaction that a request's signers are to sign, on a chain
// of which the coordinator asks no node (Decoded.Transaction).
func (c *Client) Bring(ctx context.Context, id, unsigned string) (*Request, error) {
	return post[Request](ctx, c, "/v1/requests/"+url.PathEscape(id)+"/transaction", map[string]string{"unsigned": unsigned})
}

// Transaction tells about a request's transaction.
func (c *Client) Transaction(ctx context.Context, id string) (*Transaction, error) {
	return get[Transaction](ctx, c, "/v1/requests/"+url.PathEscape(id)+"/transaction", callTimeout)
}

// maxPoll is how long one long poll may take.
const maxPoll = 60 * time.Second

// Wait returns when the request is final or waits for people (awaiting approval,
// held by the risk engine, waiting for its transaction or for somebody to send it), or after timeout, with the request as it then is.
func (c *Client) Wait(ctx context.Context, id string, timeout time.Duration) (*Request, error) {
	return c.wait(ctx, id, timeout, "settled")
}

// WaitFinal returns when the request is final, or after timeout.
func (c *Client) WaitFinal(ctx context.Context, id string, timeout time.Duration) (*Request, error) {
	return c.wait(ctx, id, timeout, "final")
}

// WaitChange returns at the next change after the version of the request that
// the caller knows, or after timeout.
func (c *Client) WaitChange(ctx context.Context, r *Request, timeout time.Duration) (*Request, error) {
	return c.wait(ctx, r.ID, timeout, "change&after="+strconv.Itoa(len(r.Transitions)))
}

func (c *Client) wait(ctx context.Context, id string, timeout time.Duration, until string) (*Request, error) {
	end := time.Now().Add(timeout)
	for {
		left := min(max(time.Until(end), 0), maxPoll)
		path := fmt.Sprintf("/v1/requests/%s/wait?timeout=%s&until=%s", url.PathEscape(id), left.Round(time.Millisecond), until)
		r, err := get[waited](ctx, c, path, left+slack)
		if err != nil {
			return nil, err
		}
		if r.Reached || time.Until(end) <= 0 {
			return &r.Request, nil
		}
	}
}

// waited is the answer to a long poll.
type waited struct {
	Request Request `json:"request"`
	Reached bool    `json:"reached"`
}

// Policy returns the policy in force.
func (c *Client) Policy(ctx context.Context) (*Document, error) {
	return get[Document](ctx, c, "/v1/policy", callTimeout)
}

// Roster returns the roster in force.
func (c *Client) Roster(ctx context.Context) (*Document, error) {
	return get[Document](ctx, c, "/v1/roster", callTimeout)
}

// Measurements returns what the vaults' machines may run.
func (c *Client) Measurements(ctx context.Context) (*Document, error) {
	return get[Document](ctx, c, "/v1/measurements", callTimeout)
}

// Changes lists the changes of policy and roster.
func (c *Client) Changes(ctx context.Context) ([]Change, error) {
	return list[Change](ctx, c, "/v1/changes")
}

// Change finds a change by (the beginning of) its hash.
func (c *Client) Change(ctx context.Context, hash string) (*Change, error) {
	return get[Change](ctx, c, "/v1/changes/"+url.PathEscape(hash), callTimeout)
}

// ProposeChange hands a change in, with its first signature.
func (c *Client) ProposeChange(ctx context.Context, d *DecodedChange, first *ChangeSignature) (*Change, error) {
	return post[Change](ctx, c, "/v1/changes", map[string]any{"change": d.Canonical(), "signatures": []*ChangeSignature{first}})
}

// SignChange adds a signature. When the quorum is complete the change goes to
// all vaults.
func (c *Client) SignChange(ctx context.Context, hash string, s *ChangeSignature) (*Change, error) {
	return post[Change](ctx, c, "/v1/changes/"+url.PathEscape(hash)+"/signatures", s)
}

// maxLog bounds a vault's log that is copied.
const maxLog = 64 << 30

// CopyLog writes the entries' file of a vault's log to w and returns its newest
// signed checkpoint, which was taken before the copy.
func (c *Client) CopyLog(ctx context.Context, vault int, w io.Writer) (checkpoint []byte, err error) {
	resp, err := c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/log/%d", vault), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := failure(resp); err != nil {
		return nil, err
	}
	n, err := io.Copy(w, io.LimitReader(resp.Body, maxLog))
	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't copy the log of vault %d after %d bytes: %w", vault, n, err)
	}
	if checkpoint, err = decode(resp.Header.Get("Coffer-Checkpoint")); err != nil {
		return nil, fmt.Errorf("couldn't copy the log of vault %d: its checkpoint is not base64url", vault)
	}
	return checkpoint, nil
}

// Cosigned asks for a vault's newest checkpoint that others have cosigned, and
// returns it encoded, too. A copy of the log that is made afterwards has its entries.
func (c *Client) Cosigned(ctx context.Context, vault int) (*Cosigned, []byte, error) {
	x, err := get[Cosigned](ctx, c, fmt.Sprintf("/v1/log/%d/checkpoint", vault), callTimeout)
	if err != nil {
		return nil, nil, err
	}
	b, err := decode(x.Canonical)
	if err != nil {
		return nil, nil, fmt.Errorf("the cosigned checkpoint of vault %d is not base64url", vault)
	}
	return x, b, nil
}

// ExportLog copies a vault's log into the new folder dir: the newest checkpoint
// and all the entries that were durable by then, for `coffer log verify`.
func (c *Client) ExportLog(ctx context.Context, vault int, dir string) (entries uint64, err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".coffer-log-")
	if err != nil {
		return 0, fmt.Errorf("couldn't export the log of vault %d: %w", vault, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	f, err := os.Create(filepath.Join(tmp, logfile.EntriesFile))
	if err != nil {
		return 0, fmt.Errorf("couldn't export the log of vault %d: %w", vault, err)
	}
	checkpoint, err := c.CopyLog(ctx, vault, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(tmp, logfile.CheckpointFile), checkpoint, 0o600); err != nil {
		return 0, fmt.Errorf("couldn't export the log of vault %d: %w", vault, err)
	}
	return logfile.Export(tmp, dir)
}

func get[T any](ctx context.Context, c *Client, path string, timeout time.Duration) (*T, error) {
	return call[T](ctx, c, http.MethodGet, path, nil, timeout)
}

func post[T any](ctx context.Context, c *Client, path string, body any) (*T, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return call[T](ctx, c, http.MethodPost, path, b, callTimeout)
}

// list reads an answer {"items": […]}.
func list[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	out, err := get[struct {
		Items []T `json:"items"`
	}](ctx, c, path, callTimeout)
	if err != nil {
		return nil, err
	}
	return out.Items, nil
}

func call[T any](ctx context.Context, c *Client, method, path string, body []byte, timeout time.Duration) (*T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := failure(resp); err != nil {
		return nil, err
	}
	out := new(T)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return nil, fmt.Errorf("the coordinator's answer to %s is not what was expected: %w", path, err)
	}
	return out, nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("couldn't reach the coordinator at %s: %w", c.url, err)
	}
	return resp, nil
}

// failure is the *Error in an answer that is none.
func failure(resp *http.Response) error {
	if resp.StatusCode < 300 {
		return nil
	}
	e := new(Error)
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(e); err != nil || e.Detail == "" {
		return &Error{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode), Detail: "the coordinator answers " + resp.Status}
	}
	e.Status = resp.StatusCode
	return e
}
