package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/transport"
	"github.com/cofferhq/coffer/internal/wire"
)

type documentOut struct {
	Body *client.Document
}

type changeOut struct {
	Body *client.Change
}

// ChangePath is exported since huma reads no embedded struct that is not.
type ChangePath struct {
	Hash string `path:"hash" doc:"The change's hash, or its first 8 hex digits or more."`
}

func (s *server) registerGovernance(a huma.API) {
	huma.Register(a, read("get-limits", "/v1/limits", "How much of the policy's limits each vault counts as used"), s.limits)
	huma.Register(a, read("get-policy", "/v1/policy", "The policy in force"), s.policy)
	huma.Register(a, read("get-roster", "/v1/roster", "The roster in force"), s.roster)
	huma.Register(a, read("get-measurements", "/v1/measurements", "What the vaults' machines may run"), s.measurements)
	huma.Register(a, read("list-changes", "/v1/changes", "All changes of policy and roster"), s.changes)
	huma.Register(a, read("get-change", "/v1/changes/{hash}", "One change, and where it has arrived", http.StatusNotFound), s.getChange)
	huma.Register(a, change("propose-change", "/v1/changes", "Hand a change in, with its author's signature", 2*maxBody), s.proposeChange)
	huma.Register(a, change("sign-change", "/v1/changes/{hash}/signatures", "Add an admin's signature to a change", maxSmall), s.signChange)
	s.registerForecast(a)
	huma.Register(a, read("get-log", "/v1/log/{vault}", "The file of a vault's log", http.StatusNotFound, http.StatusServiceUnavailable), s.vaultLog)
	huma.Register(a, read("get-checkpoint", "/v1/log/{vault}/checkpoint", "A vault's newest checkpoint that other vaults and outside witnesses have cosigned", http.StatusNotFound, http.StatusServiceUnavailable), s.cosigned)
}

func (s *server) policy(context.Context, *struct{}) (*documentOut, error) {
	gov := s.co.Governance()
	root := gov.Policy.Root()
	return &documentOut{&client.Document{
		Kind: "policy", Version: s.governance(gov), Root: hex.EncodeToString(root[:]),
		Document: json.RawMessage(source.JSON(gov.Policy)), Canonical: b64(gov.Policy.Encode()),
	}}, nil
}

func (s *server) measurements(context.Context, *struct{}) (*documentOut, error) {
	gov := s.co.Governance()
	b := gov.Measurements.Encode()
	root := wire.Hash("coffer/measurements/v1", b)
	return &documentOut{&client.Document{
		Kind: "measurements", Version: s.governance(gov), Root: hex.EncodeToString(root[:]),
		Document: json.RawMessage(governance.MeasurementsJSON(gov.Measurements)), Canonical: b64(b),
	}}, nil
}

func (s *server) roster(context.Context, *struct{}) (*documentOut, error) {
	gov := s.co.Governance()
	root := gov.Roster.Root()
	return &documentOut{&client.Document{
		Kind: "roster", Version: s.governance(gov), Root: hex.EncodeToString(root[:]),
		Document: json.RawMessage(gov.Roster.JSON()), Canonical: b64(gov.Roster.Encode()),
	}}, nil
}

type changesOut struct {
	Body struct {
		Items []*client.Change `json:"items"`
	}
}

func (s *server) changes(ctx context.Context, _ *struct{}) (*changesOut, error) {
	all, err := s.co.Changes(ctx)
	if err != nil {
		return nil, fail(err, "")
	}
	out := new(changesOut)
	out.Body.Items = []*client.Change{}
	for _, x := range all {
		v, err := s.change(x)
		if err != nil {
			return nil, fail(err, "")
		}
		out.Body.Items = append(out.Body.Items, v)
	}
	return out, nil
}

func (s *server) change(x *coordinator.StoredChange) (*client.Change, error) {
	c := &x.Signed.Change
	h, gov := c.Hash(), s.co.Governance()
	out := &client.Change{
		Hash: hex.EncodeToString(h[:]), Seq: c.Seq, Prev: hex.EncodeToString(c.Prev[:]), Kind: c.Kind.String(), Author: c.Author, Note: c.Note,
		Created: millis(c.Created), SignedBy: []string{}, Quorum: int(gov.Roster.AdminQuorum), Applied: x.Applied, Canonical: b64(c.Encode()),
	}
	for _, sig := range x.Signed.Signatures {
		out.SignedBy = append(out.SignedBy, sig.Principal)
	}
	s.fate(gov, x, out)
	switch c.Kind {
	case governance.KindPolicy:
		d, err := policy.DecodeDocument(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = json.RawMessage(source.JSON(d))
	case governance.KindRoster:
		r, err := identity.DecodeRoster(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = json.RawMessage(r.JSON())
	case governance.KindKey:
		o, err := governance.DecodeKeyOrder(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = json.RawMessage(o.JSON())
	case governance.KindVault:
		o, err := governance.DecodeVaultOrder(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = json.RawMessage(o.JSON())
	case governance.KindMeasurements:
		p, err := attest.DecodePolicy(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = json.RawMessage(governance.MeasurementsJSON(p))
	default:
		d, err := client.DecodeChange(out.Canonical)
		if err != nil {
			return nil, err
		}
		out.Document = d.Document
	}
	return out, nil
}

func (s *server) getChange(ctx context.Context, in *ChangePath) (*changeOut, error) {
	x, err := s.findChange(ctx, in.Hash)
	if err != nil {
		return nil, err
	}
	out, err := s.change(x)
	if err != nil {
		return nil, fail(err, "")
	}
	if !x.Applied {
		return &changeOut{out}, nil
	}
	for _, v := range s.co.Statuses(ctx) {
		a := client.Applied{Vault: int(v.Vault.ID)}
		if v.Err != nil {
			a.Error = v.Err.Error()
		} else {
			a.Applied = v.Status.GovernanceSeq >= x.Signed.Change.Seq
		}
		out.Vaults = append(out.Vaults, a)
	}
	return &changeOut{out}, nil
}

func (s *server) findChange(ctx context.Context, hash string) (*coordinator.StoredChange, error) {
	p, err := prefix("hash", hash)
	if err != nil {
		return nil, err
	}
	x, err := s.co.FindChange(ctx, p)
	if err != nil {
		return nil, fail(err, "hash")
	}
	return x, nil
}

type proposeChangeIn struct {
	Body struct {
		Change     string                   `json:"change" doc:"The canonical change, base64url."`
		Signatures []client.ChangeSignature `json:"signatures" minItems:"1" maxItems:"64"`
	}
}

func (s *server) proposeChange(ctx context.Context, in *proposeChangeIn) (*changeOut, error) {
	raw, err := unb64("change", in.Body.Change)
	if err != nil {
		return nil, err
	}
	c, err := governance.DecodeChange(raw)
	if err != nil {
		return nil, decodeError("change", err)
	}
	sc := &governance.SignedChange{Change: *c}
	for i := range in.Body.Signatures {
		if err := addSignature(sc, &in.Body.Signatures[i]); err != nil {
			return nil, err
		}
	}
	return s.takeChange(ctx, sc)
}

func addSignature(sc *governance.SignedChange, x *client.ChangeSignature) error {
	if err := wire.CheckName(x.Principal); err != nil {
		return bad("principal", err.Error(), "the id of an admin")
	}
	k, sig, err := signed(x.Key, x.Signature)
	if err != nil {
		return err
	}
	sc.Signatures = append(sc.Signatures, governance.AdminSignature{Principal: x.Principal, Key: k, Signature: sig})
	return nil
}

func (s *server) takeChange(ctx context.Context, sc *governance.SignedChange) (*changeOut, error) {
	sc.Sort()
	x, err := s.co.Change(ctx, sc)
	if err != nil {
		return nil, fail(err, "change")
	}
	out, err := s.change(x)
	if err != nil {
		return nil, fail(err, "")
	}
	return &changeOut{out}, nil
}

type signChangeIn struct {
	ChangePath
	Body client.ChangeSignature
}

func (s *server) signChange(ctx context.Context, in *signChangeIn) (*changeOut, error) {
	x, err := s.findChange(ctx, in.Hash)
	if err != nil {
		return nil, err
	}
	sc := &governance.SignedChange{Change: x.Signed.Change}
	if err := addSignature(sc, &in.Body); err != nil {
		return nil, err
	}
	return s.takeChange(ctx, sc)
}

type logIn struct {
	Vault int `path:"vault" minimum:"1" maximum:"65535" doc:"The vault's number."`
}

// vaultLog streams the file of a log as its node keeps it. What it is worth, its
// own signatures say.
func (s *server) vaultLog(ctx context.Context, in *logIn) (*huma.StreamResponse, error) {
	id, err := s.vaultID(in)
	if err != nil {
		return nil, err
	}
	first, err := s.logs.Log(ctx, id, 0)
	if err != nil {
		return nil, logError(err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/octet-stream")
		hc.SetHeader("Content-Length", strconv.FormatUint(first.Total, 10))
		hc.SetHeader("Coffer-Checkpoint", b64(first.Checkpoint))
		hc.SetStatus(http.StatusOK)
		if err := s.copyLog(hc.Context(), hc.BodyWriter(), id, first); err != nil && ctx.Err() == nil {
			s.log.Warn("couldn't hand out a log", "vault", id, "err", err)
		}
	}}, nil
}

func (s *server) vaultID(in *logIn) (uint16, error) {
	id := uint16(in.Vault)
	if _, ok := s.co.Governance().Vault(id); !ok {
		return 0, newProblem(http.StatusNotFound, "not-found", "vault", fmt.Sprintf("vault: this cluster has no vault %d", in.Vault), "one of GET /v1/cluster")
	}
	return id, nil
}

type cosignedOut struct {
	Body *client.Cosigned
}

// cosigned hands out what the node shows. What it is worth, its signatures say: none
// is verified here.
func (s *server) cosigned(ctx context.Context, in *logIn) (*cosignedOut, error) {
	id, err := s.vaultID(in)
	if err != nil {
		return nil, err
	}
	b, err := s.logs.Cosigned(ctx, id)
	if err != nil {
		return nil, logError(err)
	}
	c, err := audit.DecodeCosignedCheckpoint(b)
	if err == nil && (c.Checkpoint.Vault != id || c.Checkpoint.Cluster != s.co.Governance().Cluster) {
		err = fmt.Errorf("it is one of %s", c.Checkpoint.Origin())
	}
	if err != nil {
		return nil, logError(fmt.Errorf("the checkpoint that the node of vault %d shows: %w", id, err))
	}
	out := &client.Cosigned{Vault: in.Vault, Size: c.Checkpoint.Size, Time: time.UnixMilli(int64(min(c.Checkpoint.Time, 1<<52))).UTC(), Cosigners: []string{}, Canonical: b64(b)}
	for i := range c.Cosignatures {
		out.Cosigners = append(out.Cosigners, c.Cosignatures[i].Name)
	}
	return &cosignedOut{out}, nil
}

func logError(err error) error {
	p := newProblem(http.StatusServiceUnavailable, "vaults", "vault", err.Error(), "the same again, when the vault's node is there")
	if !errors.Is(err, transport.ErrUnreachable) {
		p.Fix = ""
	}
	return p
}

// copyLog writes as much as the first part promised. The log may grow meanwhile.
func (s *server) copyLog(ctx context.Context, w io.Writer, vault uint16, part *transport.LogPart) error {
	total, at := part.Total, uint64(0)
	for {
		b := part.Bytes[:min(uint64(len(part.Bytes)), total-at)]
		if _, err := w.Write(b); err != nil {
			return err
		}
		if at += uint64(len(b)); at == total {
			return nil
		}
		var err error
		if part, err = s.logs.Log(ctx, vault, at); err != nil {
			return err
		}
		if len(part.Bytes) == 0 {
			return io.ErrUnexpectedEOF
		}
	}
}
