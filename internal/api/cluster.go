package api

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/governance"
)

type clusterOut struct {
	Body *client.Cluster
}

type vaultsOut struct {
	Body struct {
		Items []*client.Vault `json:"items"`
	}
}

type walletsOut struct {
	Body struct {
		Items []*client.Wallet `json:"items"`
	}
}

type walletOut struct {
	Status int
	Body   *client.Wallet
}

func (s *server) registerCluster(a huma.API) {
	huma.Register(a, read("get-cluster", "/v1/cluster", "The cluster: vaults, chains, assets, version of policy and roster"), func(context.Context, *struct{}) (*clusterOut, error) {
		return &clusterOut{s.cluster()}, nil
	})
	huma.Register(a, read("list-vaults", "/v1/vaults", "Every vault's own word about itself; those that do not answer are named"), s.vaults)
	huma.Register(a, read("list-wallets", "/v1/wallets", "The wallets"), s.listWallets)
	huma.Register(a, read("get-wallet", "/v1/wallets/{name}", "One wallet", http.StatusNotFound), s.getWallet)
	op := change("create-wallet", "/v1/wallets", "Have the vaults make a key, by an admin's order", maxSmall)
	op.DefaultStatus = http.StatusCreated
	huma.Register(a, op, s.createWallet)
}

func (s *server) vaults(ctx context.Context, _ *struct{}) (*vaultsOut, error) {
	out := new(vaultsOut)
	gov := s.co.Governance()
	for _, v := range s.co.Statuses(ctx) {
		x := &client.Vault{Card: card(gov, &v.Vault)}
		if o, ok := gov.Suspended(v.Vault.ID); ok {
			x.Suspension = &client.Suspension{Seq: o.Seq, Reason: o.Reason}
		}
		if v.Err != nil {
			x.Error = v.Err.Error()
		} else {
			status(x, v.Status, gov.Seq)
		}
		out.Body.Items = append(out.Body.Items, x)
	}
	return out, nil
}

func status(x *client.Vault, st *cluster.Status, seq uint64) {
	x.Reachable, x.Boot, x.GovernanceSeq, x.UpToDate = true, st.Boot, st.GovernanceSeq, st.GovernanceSeq >= seq
	x.LogSize, x.LogRoot, x.Sessions = st.LogSize, hex.EncodeToString(st.LogRoot[:]), int(st.Sessions)
	x.State, x.Isolation, x.Hardware = st.State.String(), st.Isolation, hardware(&st.Device)
	if st.Software != ([32]byte{}) {
		x.Software = hex.EncodeToString(st.Software[:])
	}
	for _, id := range st.Awaiting {
		x.Awaiting = append(x.Awaiting, int(id))
	}
	if r := st.RolledBack; r != nil {
		x.RolledBack = &client.RolledBack{OwnSize: r.OwnSize, HeldBoot: r.HeldBoot, HeldSize: r.HeldSize, HeldRoot: hex.EncodeToString(r.HeldRoot[:]), By: ints(r.By)}
	}
	for _, p := range st.Peers {
		y := client.Peer{
			Vault: int(p.Vault), Connected: p.Connected, Ready: p.Ready, Quarantined: p.Quarantined, Suspended: p.Suspended,
			HeldBoot: p.HeldBoot, HeldSize: p.HeldSize,
		}
		if p.HeldSize > 0 {
			y.HeldRoot = hex.EncodeToString(p.HeldRoot[:])
		}
		x.Peers = append(x.Peers, y)
	}
	for _, k := range st.Keys {
		key := client.Key{
			ID: hex.EncodeToString(k.ID[:]), Name: k.Name, PublicKey: hex.EncodeToString(k.PublicKey), Threshold: int(k.Threshold),
			Parties: ints(k.Parties), Epoch: uint64(k.Epoch), Purpose: k.Purpose,
		}
		if k.Tier != 0 {
			key.Tier = governance.Tier(k.Tier).String()
		}
		x.Keys = append(x.Keys, key)
	}
}

func hardware(d *cluster.DeviceStatus) *client.Hardware {
	h := &client.Hardware{
		Vendor: d.Vendor, Model: d.Model, Firmware: d.Firmware, Suites: strings.Fields(d.Suites),
		Boundary: d.Boundary, Rollback: d.Rollback, PerUse: d.PerUse, Tiers: []string{},
	}
	for _, t := range d.Tiers {
		h.Tiers = append(h.Tiers, governance.Tier(t).String())
	}
	return h
}

func (s *server) listWallets(context.Context, *struct{}) (*walletsOut, error) {
	out := new(walletsOut)
	out.Body.Items = []*client.Wallet{}
	for _, w := range s.co.Wallets() {
		v, err := s.wallet(w)
		if err != nil {
			return nil, fail(err, "")
		}
		out.Body.Items = append(out.Body.Items, v)
	}
	return out, nil
}

type walletIn struct {
	Name string `path:"name" doc:"The wallet's name, or its key id, or the first 8 hex digits of that or more."`
}

func (s *server) getWallet(_ context.Context, in *walletIn) (*walletOut, error) {
	var names []string
	var byID []*coordinator.Wallet
	for _, w := range s.co.Wallets() {
		if w.Name == in.Name {
			return s.answerWallet(w, http.StatusOK)
		}
		if len(in.Name) >= 8 && strings.HasPrefix(hex.EncodeToString(w.ID[:]), in.Name) {
			byID = append(byID, w)
		}
		names = append(names, w.Name)
	}
	if len(byID) == 1 {
		return s.answerWallet(byID[0], http.StatusOK)
	}
	fix := "one of " + strings.Join(names, ", ")
	if names == nil {
		fix = "make one first (coffer wallet create)"
	}
	return nil, newProblem(http.StatusNotFound, "not-found", "name", fmt.Sprintf("name: there is no wallet %.80q", in.Name), fix)
}

func (s *server) answerWallet(w *coordinator.Wallet, code int) (*walletOut, error) {
	v, err := s.wallet(w)
	if err != nil {
		return nil, fail(err, "")
	}
	return &walletOut{code, v}, nil
}

type createWalletIn struct {
	Body struct {
		Order string `json:"order" doc:"The canonical keygen order, signed by an admin, base64url."`
	}
}

func (s *server) createWallet(ctx context.Context, in *createWalletIn) (*walletOut, error) {
	raw, err := unb64("order", in.Body.Order)
	if err != nil {
		return nil, err
	}
	o, err := governance.DecodeKeygenOrder(raw)
	if err != nil {
		return nil, decodeError("order", err)
	}
	w, created, err := s.co.Keygen(ctx, o)
	if err != nil {
		return nil, fail(err, "order")
	}
	if !created {
		return s.answerWallet(w, http.StatusOK)
	}
	return s.answerWallet(w, http.StatusCreated)
}
