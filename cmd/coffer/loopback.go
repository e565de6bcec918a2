package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Bounds of what happens at a page of this machine's own.
const (
	maxPageBody    = 64 << 10 // bytes
	pageWait       = 10 * time.Minute
	pageHeaderTime = 5 * time.Second // a local page sends its headers at once
)

// localOrigin reads the origin of a page that this machine can serve.
func localOrigin(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Hostname() != "localhost" || u.Port() == "" || text != "http://"+u.Host {
		return nil, fmt.Errorf("origin %q: a page is served on http://localhost:PORT only", text)
	}
	return u, nil
}

// pageHeaders keeps everything but the page's own script out of it.
func pageHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
}

// servePage serves a page of this machine until something is done on it.
func servePage[T any](ctx context.Context, origin *url.URL, who string, page http.Handler, done <-chan T) (x T, err error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", origin.Port()))
	if err != nil {
		return x, fmt.Errorf("couldn't serve the page %s: %w", origin, err)
	}
	srv := &http.Server{Handler: page, ReadHeaderTimeout: pageHeaderTime}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), pageHeaderTime)
		defer cancel()
		if srv.Shutdown(end) != nil {
			_ = srv.Close() // a browser that keeps a connection open has its answer
		}
		<-served
	}()
	fmt.Fprintf(os.Stderr, "open %s in the browser of %s\n", origin, who)
	ctx, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	select {
	case x = <-done:
		return x, nil
	case <-ctx.Done():
		return x, fmt.Errorf("nothing was done on the page: %w", ctx.Err())
	}
}
