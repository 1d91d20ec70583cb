package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"roomd/netsvc"
	"roomd/store"
)

// metrics collects what /metrics shows. No label has an unbounded set of
// values: nicks are not among them, and rooms only with metrics.per_room, which
// rooms.max bounds.
type metrics struct {
	registry *prometheus.Registry
	perRoom  atomic.Bool // metrics.per_room
	profiles atomic.Bool // metrics.profiles
	ready    atomic.Bool // every room is bound or known to be unbound, and the server does not stop

	// Set by watch, before it is registered and ready.
	svc *netsvc.Service
	st  *store.Store
	out map[string]*lineWriter // by what is printed there

	pair *atomic.Pointer[keyPair]

	took  prometheus.Histogram
	lines prometheus.Histogram
}

// newMetrics makes the registry. Its observe is for store.Options; watch must
// follow once the server is there.
func newMetrics(v version) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "roomd_commit_duration_seconds", Help: "How long it took to bring a transaction to disk.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		lines: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "roomd_commit_lines", Help: "Lines in a transaction.", Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "roomd_build_info", Help: "Always 1; which roomd this is.",
		ConstLabels: prometheus.Labels{"version": v.Version, "commit": v.Commit, "go": v.Go},
	})
	info.Set(1)
	m.registry.MustRegister(m.took, m.lines, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) observe(took time.Duration, lines int) {
	m.took.Observe(took.Seconds())
	if lines > 0 {
		m.lines.Observe(float64(lines))
	}
}

// watch begins to collect from a server.
func (m *metrics) watch(svc *netsvc.Service, st *store.Store, out map[string]*lineWriter, pair *atomic.Pointer[keyPair]) error {
	m.svc, m.st, m.out, m.pair = svc, st, out, pair
	return m.registry.Register(m)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("roomd_"+name, help, labels, nil)
}

var (
	descFault      = desc("fault", "There is none.")
	descRooms      = desc("rooms", "Rooms by state.", "state")
	descMembers    = desc("members", "Members of all rooms.")
	descConns      = desc("connections", "Connections now, to the master port and to rooms.")
	descAccepted   = desc("connections_accepted_total", "Connections accepted on any port.")
	descRefused    = desc("connections_refused_total", "Connections refused, by cause.", "cause")
	descTLS        = desc("tls_failures_total", "TLS handshakes that failed, by cause.", "cause")
	descEnded      = desc("members_ended_total", "Members that have gone, by cause.", "cause")
	descForeign    = desc("foreign_connections_total", "Connections that spoke another protocol, by protocol.", "protocol")
	descSessions   = desc("sessions_ended_total", "Connections to the master port that have ended, by cause.", "cause")
	descOdd        = desc("odd_lines_total", "Lines that are nothing, too long, or had characters that were replaced.", "kind")
	descPasswords  = desc("passwords_total", "Connections and lines before the gates of rooms with a password, by outcome.", "outcome")
	descHurried    = desc("hurried_total", "Connections refused or ended as their address connected or asked too often.")
	descSlowedIn   = desc("members_slowed_total", "Times that a member's input had to wait for its allowance.")
	descSlowed     = desc("requests_slowed_total", "Requests to the master port that were put off.")
	descLines      = desc("lines_total", "Lines kept.")
	descDeliveries = desc("deliveries_total", "Lines times the members that each was for.")
	descBytes      = desc("written_bytes_total", "Bytes written to members.")
	descPasses     = desc("flush_passes_total", "Passes over the members of a room.")
	descPages      = desc("history_pages_total", "Pages of the history that were read from the database, for members and operators.")
	descLagging    = desc("members_lagging", "Members that have not got everything yet.")
	descWorst      = desc("worst_lag_events", "How many events the slowest member is behind.")
	descStore      = desc("store_bytes", "Size of the database file.")
	descFree       = desc("store_free_bytes", "Bytes of the database file that are free for what comes.")
	descReadOnly   = desc("store_read_only", "1 from a failed write to the disk until the database is writable again.")
	descFull       = desc("store_full", "1 while changes are refused because the disk is full.")
	descStalled    = desc("store_stalled_seconds", "How long the disk has not answered, if that is a second or more; else 0.")
	descDamaged    = desc("store_damaged_blocks_total", "Times that a reader came across a damaged block, or a record that has become damaged since the start, and left it out.")
	descLeftOut    = desc("store_damaged_records", "Records of rooms, bans and the audit that were damaged at the start and are left out.")
	descDropped    = desc("output_lines_dropped_total", "Lines of the log, or of standard output, that could not be written.", "output")
	descExpires    = desc("certificate_expiry_timestamp_seconds", "When the certificate in use expires.")
	descRenewed    = desc("certificate_renewed_timestamp_seconds", "When the certificate in use was taken up.")

	// With metrics.per_room.
	descRoomMembers = desc("room_members", "Members of a room.", "room")
	descRoomLagging = desc("room_members_lagging", "Members of a room that have not got everything yet.", "room")
	descRoomLines   = desc("room_history_lines", "Lines in a room's history.", "room")
	descRoomBytes   = desc("room_history_bytes", "Bytes of a room's history.", "room")
	descRoomNewest  = desc("room_newest_seq", "The newest sequence number of a room; it grows with each line.", "room")
)

// Describe is of prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect is of prometheus.Collector. A fault in it is the answer to the scrape, and
// not the end of the server.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	defer func() {
		if fault := recover(); fault != nil {
			ch <- prometheus.NewInvalidMetric(descFault, fmt.Errorf("a fault in roomd: %v", fault))
		}
	}()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for state, n := range m.svc.States() {
		gauge(descRooms, float64(n), state)
	}
	members, lagging, worst := 0, 0, uint64(0)
	perRoom := m.perRoom.Load()
	for _, r := range m.svc.Rooms() {
		members += r.Members
		lagging += r.Lagging
		worst = max(worst, r.Worst)
		if perRoom && r.ID != 0 {
			gauge(descRoomMembers, float64(r.Members), r.Name)
			gauge(descRoomLagging, float64(r.Lagging), r.Name)
			gauge(descRoomLines, float64(r.Lines), r.Name)
			gauge(descRoomBytes, float64(r.Bytes), r.Name)
			gauge(descRoomNewest, float64(r.Newest), r.Name)
		}
	}
	gauge(descMembers, float64(members))
	gauge(descLagging, float64(lagging))
	gauge(descWorst, float64(worst))
	gauge(descConns, float64(m.svc.Connections()))
	c := m.svc.Counters()
	counter(descAccepted, c.Accepted)
	for cause, n := range c.Refused {
		counter(descRefused, n, string(cause))
	}
	for cause, n := range c.TLSFailed {
		counter(descTLS, n, cause)
	}
	for cause, n := range c.Ended {
		counter(descEnded, n, string(cause))
	}
	for protocol, n := range c.Foreign {
		counter(descForeign, n, string(protocol))
	}
	for cause, n := range c.Sessions {
		counter(descSessions, n, string(cause))
	}
	counter(descOdd, c.Blank, "blank")
	counter(descOdd, c.TooLong, "too long")
	counter(descOdd, c.Cleaned, "cleaned")
	counter(descPasswords, c.Passwords.Right, "right")
	counter(descPasswords, c.Passwords.Wrong, "wrong")
	counter(descPasswords, c.Passwords.Held, "held")
	counter(descPasswords, c.Passwords.Late, "late")
	counter(descPasswords, c.Passwords.Crowded, "crowded")
	counter(descHurried, c.Hurried)
	counter(descSlowed, c.Slowed)
	counter(descSlowedIn, c.SlowedLines)
	counter(descLines, c.Lines)
	counter(descDeliveries, c.Deliveries)
	counter(descBytes, c.Bytes)
	counter(descPasses, c.Passes)
	counter(descPages, c.Pages)
	if file, free, err := m.st.Size(); err == nil {
		gauge(descStore, float64(file))
		gauge(descFree, float64(free))
	}
	counter(descDamaged, m.st.Damaged())
	leftOut, _ := m.st.LeftOut()
	gauge(descLeftOut, float64(leftOut))
	readOnly := 0.0
	if m.st.Broken() != nil {
		readOnly = 1
	}
	gauge(descReadOnly, readOnly)
	full := 0.0
	if m.st.Full() {
		full = 1
	}
	gauge(descFull, full)
	gauge(descStalled, m.st.Stalled().Seconds())
	if pair := m.pair.Load(); pair != nil {
		now := pair.state()
		gauge(descExpires, float64(now.cert.Leaf.NotAfter.Unix()))
		gauge(descRenewed, float64(now.since.Unix()))
	}
	for name, l := range m.out {
		dropped, _ := l.state()
		counter(descDropped, dropped, name)
	}
}

// listenMetrics opens metrics.listen.
func listenMetrics(addr string) (*net.TCPListener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open metrics.listen: %w", err)
	}
	return ln.(*net.TCPListener), nil
}

// serve serves /metrics, /healthz and /readyz until stop is called. healthz
// answers 200 while the process answers at all; readyz 503 until every room is
// bound or known to be unbound, while the database is read-only or the disk does
// not answer, and from the beginning of the stop.
func (m *metrics) serve(ln net.Listener, log *slog.Logger) (stop func()) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !m.ready.Load() {
			http.Error(w, "the server is starting or stopping", http.StatusServiceUnavailable)
			return
		}
		if err := m.st.Broken(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if took := m.st.Stalled(); took > 0 {
			http.Error(w, fmt.Sprintf("the disk has not answered for %v", took.Round(time.Millisecond)), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	profiles := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !m.profiles.Load() {
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
