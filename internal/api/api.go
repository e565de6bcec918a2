package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/transport"
	"github.com/cofferhq/coffer/internal/wire"
)

// Logs reads vaults' logs from their nodes. The transport implements it, and
// tests do with folders.
type Logs interface {
	Log(ctx context.Context, vault uint16, offset uint64) (*transport.LogPart, error)
	// Cosigned is the vault's newest checkpoint that others have cosigned
	// (audit.CosignedCheckpoint).
	Cosigned(ctx context.Context, vault uint16) ([]byte, error)
}

// Options of the API.
type Options struct {
	Coordinator *coordinator.Coordinator
	Logs        Logs
	Token       string // of reads
	OIDC        OIDC   // whose identity tokens permit reads, too
	Version     string // of the program
	Log         *slog.Logger
}

type server struct {
	co    *coordinator.Coordinator
	logs  Logs
	token [32]byte
	oidc  *readers // nil: no identity tokens
	log   *slog.Logger
}

// Bounds of requests, in bytes.
const (
	maxBody   = 1 << 20 // a change holds a whole policy or roster, base64
	maxSmall  = 512 << 10
	maxHeader = 16 << 10
)

// MaxHeader is for the http.Server that serves the API.
const MaxHeader = maxHeader

func init() {
	// huma knows one constructor of errors a process; ours is for all.
	huma.NewError = fromHuma
	huma.NewErrorWithContext = func(_ huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return fromHuma(status, msg, errs...)
	}
}

// New is the API's handler.
func New(o Options) http.Handler {
	s := &server{co: o.Coordinator, logs: o.Logs, token: sha256.Sum256([]byte(o.Token)), oidc: newReaders(o.OIDC), log: o.Log}
	mux := http.NewServeMux()
	cfg := huma.DefaultConfig("Coffer coordinator", o.Version)
	cfg.Info.Description = "Reads need the bearer token of the token file. Writes are authorised by the signatures in their bodies, which every vault verifies for itself. Errors are RFC 9457 problems with code, field, detail and fix."
	cfg.CreateHooks = nil // no $schema in answers
	cfg.DocsPath = ""     // its page would load scripts from elsewhere
	cfg.SchemasPath = ""
	cfg.RejectUnknownQueryParameters = true
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{tokenScheme: {Type: "http", Scheme: "bearer", Description: "The content of the coordinator's token file."}}
	a := humago.New(mux, cfg)
	a.UseMiddleware(s.authorise(a))
	s.registerCluster(a)
	s.registerRequests(a)
	s.registerGovernance(a)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { unknown(w, r, allowed(mux, r)) })
	return headers(mux)
}

const tokenScheme = "token"

// headers are those that every answer has.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

// authorise asks for the token where an operation needs it. An identity token permits
// reading, and whoever writes with one is told that it is worth nothing there.
func (s *server) authorise(a huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		header := ctx.Header("Authorization")
		token, ok := strings.CutPrefix(header, "Bearer ")
		sum := sha256.Sum256([]byte(token))
		known := ok && subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1
		needs := len(ctx.Operation().Security) > 0
		switch {
		case known:
		case s.oidc != nil && ok && ctx.Method() != http.MethodGet:
			write(ctx, newProblem(http.StatusForbidden, "token", "Authorization", "an identity token is for reading only: what is written is worth what the signatures in it are worth", "the same without this header; coffer signs with a key or a passkey"))
			return
		case !needs:
		case s.oidc != nil && ok:
			if err := s.oidc.check(ctx.Context(), token); err != nil {
				ctx.SetHeader("WWW-Authenticate", "Bearer")
				write(ctx, newProblem(http.StatusUnauthorized, "token", "Authorization", "the token does not permit reading: "+wire.CleanText(err.Error(), 300), "a token of "+s.oidc.cfg.Issuer+" for "+s.oidc.cfg.Audience+", or the content of the token file"))
				return
			}
		default:
			ctx.SetHeader("WWW-Authenticate", "Bearer")
			write(ctx, newProblem(http.StatusUnauthorized, "token", "Authorization", "this needs the coordinator's token", "Authorization: Bearer and the content of the token file"))
			return
		}
		next(ctx)
	}
}

// read and change are the two sorts of operations.
func read(id, path, summary string, errs ...int) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Summary: summary,
		Security: []map[string][]string{{tokenScheme: {}}}, Errors: append([]int{http.StatusUnauthorized}, errs...),
	}
}

func change(id, path, summary string, limit int64) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Summary: summary, MaxBodyBytes: limit,
		Errors: []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}
}
