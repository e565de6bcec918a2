package api

import (
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// write answers with a problem from a middleware.
func write(ctx huma.Context, p *problem) {
	b, err := json.Marshal(p)
	if err != nil {
		ctx.SetStatus(http.StatusInternalServerError)
		return
	}
	ctx.SetHeader("Content-Type", p.ContentType(""))
	ctx.SetStatus(p.Status)
	_, _ = ctx.BodyWriter().Write(b) // the client may be gone
}

// unknown answers what no operation is registered for.
func unknown(w http.ResponseWriter, r *http.Request) {
	p := newProblem(http.StatusNotFound, "not-found", "", "there is no "+r.Method+" of this path", "one of the operations in /openapi.json")
	b, err := json.Marshal(p)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_, _ = w.Write(b) // the client may be gone
}
