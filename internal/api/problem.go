package api

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/refusal"
)

// problem is an answer that is none (RFC 9457).
type problem client.Error

func (p *problem) Error() string { return p.Detail }

// GetStatus and ContentType are what huma asks of an error.
func (p *problem) GetStatus() int { return p.Status }

// ContentType is the one of RFC 9457.
func (p *problem) ContentType(string) string { return "application/problem+json" }

func newProblem(status int, code, field, detail, fix string) *problem {
	return &problem{Status: status, Title: http.StatusText(status), Code: code, Field: field, Detail: detail, Fix: fix}
}

// statusOf maps a refusal's code to HTTP. What stands here is all there is: who
// signs wrongly is forbidden, what stands in another's place conflicts, and
// everything else is content that cannot be processed.
func statusOf(code string) int {
	switch code {
	case "approval.duplicate", "change.duplicate", "change.seq", "change.prev", "keygen.name":
		return http.StatusConflict
	case "cancellation.principal", "governance.admin":
		return http.StatusForbidden
	}
	if strings.HasPrefix(code, "identity.") {
		return http.StatusForbidden
	}
	return http.StatusUnprocessableEntity
}

// fail turns an error into a problem. field is where in the request it lies; a
// refusal that begins with a field's name says it more closely.
func fail(err error, field string) error {
	if r := refusal.As(err); r != nil {
		return newProblem(statusOf(r.Code), r.Code, within(field, r.Detail), r.Detail, r.Fix)
	}
	switch {
	case errors.Is(err, coordinator.ErrNotFound):
		return newProblem(http.StatusNotFound, "not-found", field, err.Error(), "one that exists: list them first")
	case errors.Is(err, coordinator.ErrConflict):
		return newProblem(http.StatusConflict, "conflict", field, strings.TrimPrefix(err.Error(), coordinator.ErrConflict.Error()+": "), "")
	case errors.Is(err, coordinator.ErrVaults):
		return newProblem(http.StatusServiceUnavailable, "vaults", "", err.Error(), "the same again, when the vaults are there (GET /v1/vaults)")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusServiceUnavailable, "stopping", "", "the coordinator is stopping, or took too long", "the same again, later")
	}
	return newProblem(http.StatusInternalServerError, "internal", "", err.Error(), "")
}

var leadingField = regexp.MustCompile(`^([a-z][a-z ]{0,24}(?:\[[0-9]+\])?): `)

// within puts the field that a refusal begins with into the one that it came in.
// An approval's place among others is the coordinator's own affair.
func within(field, detail string) string {
	m := leadingField.FindStringSubmatch(detail)
	if m == nil || m[1] == field || strings.HasPrefix(m[1], field+"s[") {
		return field
	}
	return strings.TrimPrefix(field+"."+m[1], ".")
}

// bad is content that does not even decode.
func bad(field, detail, fix string) error {
	return newProblem(http.StatusUnprocessableEntity, "form", field, field+": "+detail, fix)
}

// fromHuma words what huma found: malformed JSON, a missing or unknown field, a
// body that is too large.
func fromHuma(status int, msg string, errs ...error) huma.StatusError {
	p := newProblem(status, "form", "", msg, "")
	switch status {
	case http.StatusRequestEntityTooLarge:
		p.Code, p.Field, p.Fix = "too-large", "body", "a smaller body"
	case http.StatusUnsupportedMediaType:
		p.Fix = "Content-Type: application/json"
	case http.StatusNotAcceptable:
		p.Fix = "Accept: application/json"
	}
	var details []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		var d huma.ErrorDetailer
		if !errors.As(err, &d) {
			details = append(details, err.Error())
			continue
		}
		e := d.ErrorDetail()
		where := e.Location
		for _, part := range []string{"body.", "query.", "path."} {
			where = strings.TrimPrefix(where, part)
		}
		if p.Field == "" {
			p.Field = where
		}
		details = append(details, strings.Trim(where+": "+e.Message, ": "))
	}
	if p.Field == "" && status == http.StatusBadRequest {
		p.Field, p.Fix = "body", "a JSON object, as /openapi.json describes it for this operation"
	}
	if len(details) > 0 {
		p.Detail = strings.Join(details, "; ")
		if p.Fix == "" {
			p.Fix = "what /openapi.json describes for this operation"
		}
	}
	return p
}
