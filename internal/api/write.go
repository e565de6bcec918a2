package api

import (
	"encoding/json"
	"net/http"
	"strings"

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

// methods are those that operations may have.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// allowed lists the methods for which mux knows the request's path.
func allowed(mux *http.ServeMux, r *http.Request) (out []string) {
	for _, m := range methods {
		x := r.Clone(r.Context())
		x.Method = m
		if _, pattern := mux.Handler(x); pattern != "" && pattern != "/" {
			out = append(out, m)
		}
	}
	return out
}

// unknown answers what no operation is registered for: the path with other
// methods, or not at all.
func unknown(w http.ResponseWriter, r *http.Request, allow []string) {
	p := newProblem(http.StatusNotFound, "not-found", "", "there is no "+r.Method+" of this path", "one of the operations in /openapi.json")
	if len(allow) > 0 {
		list := strings.Join(allow, ", ")
		p = newProblem(http.StatusMethodNotAllowed, "method", "", "there is no "+r.Method+" of this path", list)
		w.Header().Set("Allow", list)
	}
	b, err := json.Marshal(p)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_, _ = w.Write(b) // the client may be gone
}
