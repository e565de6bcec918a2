package api

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/governance"
)

type forecastOut struct {
	Body *client.Forecast
}

type forecastIn struct {
	Body struct {
		Change string `json:"change" doc:"The canonical change, base64url."`
	}
}

func (s *server) registerForecast(a huma.API) {
	op := change("forecast-change", "/v1/forecasts", "What a change would do, before anybody signs it", 2*maxBody)
	op.DefaultStatus = http.StatusOK
	huma.Register(a, op, s.forecast)
}

func (s *server) forecast(_ context.Context, in *forecastIn) (*forecastOut, error) {
	raw, err := unb64("change", in.Body.Change)
	if err != nil {
		return nil, err
	}
	c, err := governance.DecodeChange(raw)
	if err != nil {
		return nil, decodeError("change", err)
	}
	f, now, err := s.co.Forecast(c)
	if err != nil {
		return nil, fail(err, "change")
	}
	return &forecastOut{&client.Forecast{
		Class: f.Class.String(), Why: f.Reason, Quorum: f.Quorum, Waits: f.Due > now, Due: millis(f.Due), Supersedes: f.Supersedes,
	}}, nil
}

// fate says what is known, or to be expected, of a change.
func (s *server) fate(gov *governance.State, x *coordinator.StoredChange, out *client.Change) {
	c := &x.Signed.Change
	if f, ok := gov.Fate(c.Seq); ok && x.Applied {
		due := millis(f.Due)
		out.Quorum = f.Quorum
		out.Class, out.Why, out.Due, out.Status, out.EndedBy, out.Detail = f.Class.String(), f.Reason, &due, f.Status.String(), f.By, f.Detail
		return
	} else if ok {
		out.Status, out.Detail = client.StatusOvertaken, fmt.Sprintf("change %d is another one: propose it anew", c.Seq)
		return
	}
	out.Status = client.StatusSignatures
	f, now, err := s.co.Forecast(c)
	if err != nil {
		out.Detail = err.Error()
		return
	}
	out.Quorum = f.Quorum
	out.Class, out.Why, out.Supersedes = f.Class.String(), f.Reason, f.Supersedes
	if f.Due > now {
		due := millis(f.Due)
		out.Due = &due
	}
}

func frozen(gov *governance.State) []client.Frozen {
	var out []client.Frozen
	for i := range gov.Frozen {
		f := &gov.Frozen[i]
		x := client.Frozen{Change: f.Seq, By: f.By, Reason: f.Reason}
		if f.Wallet != ([32]byte{}) {
			x.Wallet = hex.EncodeToString(f.Wallet[:])
		}
		out = append(out, x)
	}
	return out
}
