package api

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

type requestOut struct {
	Status int
	Body   *client.Request
}

// RequestPath is exported since huma reads no embedded struct that is not.
type RequestPath struct {
	ID string `path:"id" doc:"The request's id, or its first 8 hex digits or more."`
}

func (s *server) registerRequests(a huma.API) {
	op := change("propose", "/v1/requests", "Hand a signed request in", maxSmall)
	op.DefaultStatus = http.StatusCreated
	huma.Register(a, op, s.propose)
	huma.Register(a, read("list-requests", "/v1/requests", "The newest requests", http.StatusUnprocessableEntity), s.listRequests)
	huma.Register(a, read("get-request", "/v1/requests/{id}", "Everything about one request", http.StatusNotFound), s.getRequest)
	huma.Register(a, change("approve", "/v1/requests/{id}/approvals", "Hand in a person's yes or no", maxSmall), s.approve)
	huma.Register(a, change("approve-devices", "/v1/requests/{id}/device-approvals", "Hand in a person's signatures for the vaults' devices", maxSmall), s.approveDevices)
	huma.Register(a, change("cancel", "/v1/requests/{id}/cancel", "Take a request back", maxSmall), s.cancel)
	huma.Register(a, read("get-transaction", "/v1/requests/{id}/transaction", "The request's transaction", http.StatusNotFound), s.transaction)
	bring := change("bring-transaction", "/v1/requests/{id}/transaction", "Hand in the transaction to sign, on a chain of which there is no node", maxSmall)
	bring.Security = []map[string][]string{{tokenScheme: {}}} // it carries no signature
	bring.Errors = append(bring.Errors, http.StatusUnauthorized)
	huma.Register(a, bring, s.bring)
	huma.Register(a, read("wait", "/v1/requests/{id}/wait", "Wait for something to happen to a request", http.StatusNotFound), s.wait)
}

type proposeIn struct {
	Body client.Proposal
}

func (s *server) propose(ctx context.Context, in *proposeIn) (*requestOut, error) {
	b, err := bundle(&in.Body)
	if err != nil {
		return nil, err
	}
	r, created, err := s.co.Propose(ctx, b)
	if err != nil {
		return nil, fail(err, "request")
	}
	out, err := s.answer(ctx, r)
	if err == nil && created {
		out.Status = http.StatusCreated
	}
	return out, err
}

// bundle decodes a proposal.
func bundle(p *client.Proposal) (*request.Bundle, error) {
	raw, err := unb64("request", p.Request)
	if err != nil {
		return nil, err
	}
	q, err := request.Decode(raw)
	if err != nil {
		return nil, decodeError("request", err)
	}
	b := &request.Bundle{Request: q}
	if b.ProposeKey, b.ProposeSignature, err = signed(p.Key, p.Signature); err != nil {
		return nil, err
	}
	if err := b.Check(); err != nil {
		return nil, fail(err, "request")
	}
	return b, nil
}

// decodeError is a refusal's own words when there are any.
func decodeError(field string, err error) error {
	if p, ok := fail(err, field).(*problem); ok && p.Status != http.StatusInternalServerError {
		return p
	}
	return bad(field, err.Error(), "the canonical encoding of docs/spec")
}

// signed reads a key and a signature under it.
func signed(key, sig string) (signature.PublicKey, signature.Signature, error) {
	k, err := signature.ParseText(key)
	if err != nil {
		return k, signature.Signature{}, bad("key", err.Error(), "a key as the roster lists it, such as ed25519:BASE64URL or webauthn-p256:BASE64URL")
	}
	raw, err := unb64("signature", sig)
	if err != nil {
		return k, signature.Signature{}, err
	}
	x := signature.Signature{Algorithm: k.Algorithm, Bytes: raw}
	if _, err := signature.Decode(x.Encode()); err != nil {
		return k, signature.Signature{}, bad("signature", fmt.Sprintf("%d bytes for a key of %v", len(raw), k.Algorithm), "64 bytes; of a passkey its assertion (docs/spec/passkey.md)")
	}
	return k, x, nil
}

// answer is the whole request.
func (s *server) answer(ctx context.Context, r *coordinator.Record) (*requestOut, error) {
	ts, as, err := s.co.History(ctx, r.ID)
	if err != nil {
		return nil, fail(err, "")
	}
	body, err := s.whole(ctx, r, ts, as)
	if err != nil {
		return nil, fail(err, "")
	}
	devices, err := s.co.DeviceApprovals(ctx, r.ID)
	if err != nil {
		return nil, fail(err, "")
	}
	body.Devices = s.devices(devices)
	return &requestOut{Status: http.StatusOK, Body: body}, nil
}

type listIn struct {
	State string `query:"state" doc:"Only of this state."`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}

type requestsOut struct {
	Body struct {
		Items []*client.Request `json:"items"`
	}
}

func (s *server) listRequests(ctx context.Context, in *listIn) (*requestsOut, error) {
	if in.State != "" && !slices.Contains(coordinator.States, coordinator.State(in.State)) {
		return nil, bad("state", fmt.Sprintf("%.40q is no state", in.State), "one of "+stateNames())
	}
	rs, err := s.co.List(ctx, coordinator.State(in.State), in.Limit)
	if err != nil {
		return nil, fail(err, "")
	}
	out := new(requestsOut)
	out.Body.Items = []*client.Request{}
	c := s.cluster()
	for _, r := range rs {
		v, err := s.summary(r, c)
		if err != nil {
			return nil, fail(err, "")
		}
		out.Body.Items = append(out.Body.Items, v)
	}
	return out, nil
}

func (s *server) find(ctx context.Context, id string) (*coordinator.Record, error) {
	p, err := prefix("id", id)
	if err != nil {
		return nil, err
	}
	r, err := s.co.Find(ctx, p)
	if err != nil {
		return nil, fail(err, "id")
	}
	return r, nil
}

func (s *server) getRequest(ctx context.Context, in *RequestPath) (*requestOut, error) {
	r, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return s.answer(ctx, r)
}

type approveIn struct {
	RequestPath
	Body struct {
		Approval string `json:"approval" doc:"The canonical approval, base64url."`
	}
}

func (s *server) approve(ctx context.Context, in *approveIn) (*requestOut, error) {
	raw, err := unb64("approval", in.Body.Approval)
	if err != nil {
		return nil, err
	}
	a, err := request.DecodeApproval(raw)
	if err != nil {
		return nil, decodeError("approval", err)
	}
	if err := same("approval", in.ID, a.Request); err != nil {
		return nil, err
	}
	r, err := s.co.Approve(ctx, a)
	if err != nil {
		return nil, fail(err, "approval")
	}
	return s.answer(ctx, r)
}

// same checks that what was signed is for the request in the path.
func same(field, id string, signed [32]byte) error {
	if _, err := prefix("id", id); err != nil {
		return err
	}
	if got := hex.EncodeToString(signed[:]); !strings.HasPrefix(got, id) {
		return newProblem(http.StatusUnprocessableEntity, field+".request", field+".request", fmt.Sprintf("%s: it is for request %s, not for %s", field, got, id), "one for this request")
	}
	return nil
}

type cancelIn struct {
	RequestPath
	Body struct {
		Cancellation string `json:"cancellation" doc:"The canonical cancellation, base64url."`
	}
}

func (s *server) cancel(ctx context.Context, in *cancelIn) (*requestOut, error) {
	raw, err := unb64("cancellation", in.Body.Cancellation)
	if err != nil {
		return nil, err
	}
	x, err := request.DecodeCancellation(raw)
	if err != nil {
		return nil, decodeError("cancellation", err)
	}
	if err := same("cancellation", in.ID, x.Request); err != nil {
		return nil, err
	}
	r, err := s.co.Cancel(ctx, x)
	if err != nil {
		return nil, fail(err, "cancellation")
	}
	return s.answer(ctx, r)
}

type approveDevicesIn struct {
	RequestPath
	Body struct {
		Approvals []client.DeviceApproval `json:"approvals" minItems:"1" maxItems:"16"`
	}
}

func (s *server) approveDevices(ctx context.Context, in *approveDevicesIn) (*requestOut, error) {
	var as []coordinator.DeviceApproval
	for i, x := range in.Body.Approvals {
		if x.Vault < 1 || x.Vault > governance.MaxVaults {
			return nil, bad("approvals", fmt.Sprintf("approval %d is for vault %d", i+1, x.Vault), fmt.Sprintf("1 to %d", governance.MaxVaults))
		}
		key, sig, err := signed(x.Key, x.Signature)
		if err != nil {
			return nil, err
		}
		as = append(as, coordinator.DeviceApproval{Vault: uint16(x.Vault), Approval: hsm.Approval{Key: key, Signature: sig}})
	}
	r, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if r, err = s.co.ApproveDevices(ctx, r.ID, as); err != nil {
		return nil, fail(err, "approvals")
	}
	return s.answer(ctx, r)
}

type bringIn struct {
	RequestPath
	Body struct {
		Unsigned string `json:"unsigned" doc:"The unsigned transaction, base64url."`
	}
}

func (s *server) bring(ctx context.Context, in *bringIn) (*requestOut, error) {
	raw, err := unb64("unsigned", in.Body.Unsigned)
	if err != nil {
		return nil, err
	}
	r, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if r, err = s.co.Bring(ctx, r.ID, raw); err != nil {
		return nil, fail(err, "unsigned")
	}
	return s.answer(ctx, r)
}

type transactionOut struct {
	Body *client.Transaction
}

func (s *server) transaction(ctx context.Context, in *RequestPath) (*transactionOut, error) {
	r, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if r.Unsigned == nil {
		return nil, newProblem(http.StatusNotFound, "not-found", "id", "the request has no transaction: its state is "+string(r.State), "only a request that the vaults have begun to sign has one: see its status")
	}
	out := &client.Transaction{ID: r.TxID, Unsigned: hex0x(r.Unsigned), Nonce: nonce(r.Unsigned), Receipt: s.receipt(r, s.cluster())}
	if r.Raw != nil {
		codec, err := family.Of(r.Bundle.Request.Chain)
		if err != nil {
			return nil, fail(err, "")
		}
		out.Raw = codec.Text(r.Raw)
	}
	return &transactionOut{out}, nil
}

func hex0x(b []byte) string { return "0x" + hex.EncodeToString(b) }

// maxWait bounds one long poll; the client comes again.
const maxWait = 60 * time.Second

type waitIn struct {
	RequestPath
	Timeout string `query:"timeout" default:"30s" doc:"How long at most, up to 60s."`
	Until   string `query:"until" default:"settled" enum:"settled,final,change" doc:"final: nothing more happens; settled: that, or it waits for people; change: its history is longer than after."`
	After   int    `query:"after" default:"0" minimum:"0" doc:"For until=change: the number of transitions that the caller knows."`
}

type waitOut struct {
	Body struct {
		Request *client.Request `json:"request"`
		Reached bool            `json:"reached" doc:"It happened; otherwise the time is up."`
	}
}

func (s *server) wait(ctx context.Context, in *waitIn) (*waitOut, error) {
	limit, err := time.ParseDuration(in.Timeout)
	if err != nil || limit < 0 || limit > maxWait {
		return nil, bad("timeout", fmt.Sprintf("%.40q", in.Timeout), "a duration from 0s to 60s, such as 30s")
	}
	r, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for up := false; ; {
		// Whoever listens before looking misses nothing.
		changed, release := s.co.Changed(r.ID)
		reached, err := s.happened(ctx, in, r.ID)
		if err != nil || reached || up {
			release()
			if err != nil {
				return nil, fail(err, "")
			}
			return s.waited(ctx, r.ID, reached)
		}
		select {
		case <-changed:
		case <-timer.C:
			up = true
		case <-ctx.Done():
			release()
			return nil, fail(ctx.Err(), "")
		}
		release()
	}
}

func (s *server) waited(ctx context.Context, id [32]byte, reached bool) (*waitOut, error) {
	r, err := s.co.Request(ctx, id)
	if err != nil {
		return nil, fail(err, "")
	}
	ts, as, err := s.co.History(ctx, id)
	if err != nil {
		return nil, fail(err, "")
	}
	out := new(waitOut)
	out.Body.Reached = reached
	if out.Body.Request, err = s.whole(ctx, r, ts, as); err != nil {
		return nil, fail(err, "")
	}
	return out, nil
}

// happened says whether what is waited for has come about. A watcher looks often:
// it reads no more than it needs.
func (s *server) happened(ctx context.Context, in *waitIn, id [32]byte) (bool, error) {
	state, reason, steps, err := s.co.Standing(ctx, id)
	switch {
	case err != nil:
		return false, err
	case coordinator.Ended(state, reason):
		return true, nil
	case in.Until == "change":
		return steps > in.After, nil
	case in.Until == "final":
		return false, nil
	}
	return coordinator.Waits(state, reason), nil
}

// stateNames lists the states for people.
func stateNames() string {
	names := make([]string, len(coordinator.States))
	for i, s := range coordinator.States {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}
