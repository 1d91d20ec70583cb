package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Listen opens metrics.listen, HOST:PORT.
func Listen(addr string) (*net.TCPListener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open metrics.listen: %w", err)
	}
	return ln.(*net.TCPListener), nil
}

// NotReady returns why the server is not ready, or nil: until every room is bound or known
// to be unbound, while the database is read-only or the disk does not answer, and from the
// beginning of the stop.
func (c *Collector) NotReady() error {
	if !c.Ready.Load() {
		return errors.New("the server is starting or stopping")
	}
	if err := c.from.Store.ReadOnly(); err != nil {
		return err
	}
	if took := c.from.Store.SlowDisk(); took > 0 {
		return fmt.Errorf("the disk has not answered for %v", took.Round(time.Millisecond))
	}
	return nil
}

// Serve serves /metrics, /healthz and /readyz until stop is called. healthz
// answers 200 while the process answers at all; readyz 503 until every room is
// bound or known to be unbound, while the database is read-only or the disk does
// not answer, and from the beginning of the stop.
func (c *Collector) Serve(ln net.Listener, log *slog.Logger) (stop func()) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.NotReady(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	profiles := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !c.Profiles.Load() {
				http.Error(w, "metrics.profiles is false", http.StatusNotFound)
				return
			}
			h(w, r)
		}
	}
	mux.HandleFunc("GET /debug/pprof/", profiles(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/profile", profiles(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", profiles(pprof.Symbol))
	mux.HandleFunc("GET /debug/pprof/trace", profiles(pprof.Trace))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if errors.Is(srv.Shutdown(ctx), context.DeadlineExceeded) {
			srv.Close()
		}
		<-done
	}
}
