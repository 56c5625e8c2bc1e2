package admin

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluicebridge/sluice/bridge"
)

//go:embed page.html
var page string

// Bounds of a request. Everything is small and comes from memory.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	maxHeader    = 16 << 10 // bytes
	stopTimeout  = 2 * time.Second
)

// Source says how the bridge is. Status is called a few times a second at most, concurrently, and must not wait for the network. What it
// returns belongs to the caller, slices included.
type Source interface {
	Status() Status
}

// Server shows one bridge.
type Server struct {
	http     http.Server
	listener net.Listener
}

// Listen opens the port. m and source must stay usable until Run has returned.
func Listen(c Config, m *bridge.Metrics, source Source) (*Server, error) {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return &Server{listener: l, http: http.Server{
		Handler: Handler(m, source), ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}}, nil
}

// Addr is where it listens, with the port that was chosen for 0.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends, and gives readers a moment to finish.
func (s *Server) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if s.http.Shutdown(late) != nil {
			s.http.Close() // its error is about a listener that is closed already
		}
	})
	err := s.http.Serve(s.listener)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("admin: %w", err)
}

// Handler answers the five paths, and POST /reconcile, /refill and /rollback where source is a Reconciler, a Refiller or a Roller.
func Handler(m *bridge.Metrics, source Source) http.Handler {
	status := func() Status { return snapshot(source, m, time.Now()) }
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry(m, status), promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, status()) })
	mux.HandleFunc("GET /statusz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(status()) // an error means that the reader went away
	})
	if r, ok := source.(Reconciler); ok {
		mux.Handle("POST /reconcile", reconcile(r))
	}
	if f, ok := source.(Refiller); ok {
		mux.Handle("POST /refill", refill(f))
	}
	if o, ok := source.(Roller); ok {
		mux.Handle("POST /rollback", rollback(o))
	}
	policy := "default-src 'none'; connect-src 'self'; img-src data:; style-src " + hashOf("style") + "; script-src " + hashOf("script")
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		fmt.Fprint(w, page)
	})
	return plainHeaders(mux)
}

// ready lists every check, so that one look tells what is missing.
func ready(w http.ResponseWriter, s Status) {
	if !s.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, c := range s.Checks {
		state := "ok"
		if !c.OK {
			state = "not ready: " + c.Detail
		}
		fmt.Fprintf(w, "%s: %s\n", c.Name, state)
	}
}

// plainHeaders is set on every answer: figures are never cached, and never taken for anything else.
func plainHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// hashOf lets the browser run exactly the page's own style and script, and no other.
func hashOf(element string) string {
	_, rest, _ := strings.Cut(page, "<"+element+">")
	text, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
