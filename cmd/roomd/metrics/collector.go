package metrics

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"roomd/netsvc"
	"roomd/store"
)

// Collector collects the metrics. Its methods may be called from any goroutine.
type Collector struct {
	// Settings; they may change at any time.
	PerRoom  atomic.Bool // each room has metrics of its own
	Profiles atomic.Bool // /debug/pprof/ answers
	Ready    atomic.Bool // every room is bound or known to be unbound, and the server does not stop

	from          Sources // set by Watch, before it is registered and ready
	registry      *prometheus.Registry
	commitSeconds prometheus.Histogram
	commitLines   prometheus.Histogram
}

// Sources are the sources of the numbers, read at each scrape.
type Sources struct {
	Service *netsvc.Service
	Store   *store.Store
	// Outputs returns for each output how many lines were dropped since the start, and how long
	// the running write has waited.
	Outputs map[string]func() (dropped uint64, waits time.Duration)
	// Certificate returns the expiry of the certificate in use, and the time when it was read;
	// zero: there is no certificate.
	Certificate func() (until, since time.Time)
}

// New makes a Collector for a roomd of that version, commit and version of Go. It can serve and
// observe at once. The caller then calls Watch, and sets Ready.
func New(version, commit, goVersion string) *Collector {
	c := &Collector{
		registry: prometheus.NewRegistry(),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "roomd_commit_duration_seconds", Help: "How long it took to bring a transaction to disk.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		commitLines: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "roomd_commit_lines", Help: "Lines in a transaction.", Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "roomd_build_info", Help: "Always 1; which roomd this is.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "go": goVersion},
	})
	info.Set(1)
	c.registry.MustRegister(c.commitSeconds, c.commitLines, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return c
}

// Observe counts a commit with its duration and its number of lines, for store.Events.
func (c *Collector) Observe(took time.Duration, lines int) {
	c.commitSeconds.Observe(took.Seconds())
	if lines > 0 {
		c.commitLines.Observe(float64(lines))
	}
}

// Watch starts to collect from a server. It may be called once.
func (c *Collector) Watch(from Sources) error {
	c.from = from
	return c.registry.Register(c)
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector. A panic becomes an error of the scrape, and does not
// end the server.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	defer func() {
		if fault := recover(); fault != nil {
			ch <- prometheus.NewInvalidMetric(desc("fault", "There is none."), fmt.Errorf("a fault in roomd: %v", fault))
		}
	}()
	svc, st := c.from.Service, c.from.Store
	emit := func(kind prometheus.ValueType, name, help string, v float64) {
		ch <- prometheus.MustNewConstMetric(desc(name, help), kind, v)
	}
	gauge := func(name, help string, v float64) { emit(prometheus.GaugeValue, name, help, v) }
	flag := func(name, help string, is bool) { gauge(name, help, map[bool]float64{true: 1}[is]) }
	counter := func(name, help string, v uint64) { emit(prometheus.CounterValue, name, help, float64(v)) }
	emitBy(ch, prometheus.GaugeValue, "rooms", "Rooms by state.", "state", svc.States())
	rooms := svc.Rooms()
	members, lagging, worst := 0, 0, uint64(0)
	for _, r := range rooms {
		members += r.Members
		lagging += r.Lagging
		worst = max(worst, r.Worst)
	}
	if c.PerRoom.Load() {
		emitRooms(ch, rooms)
	}
	gauge("members", "Members of all rooms.", float64(members))
	sessions, byDoor := make(map[string]int), make(map[string]int)
	for _, d := range svc.Doors() {
		sessions[d.Name], byDoor[d.Name] = d.Sessions, d.Members
	}
	emitBy(ch, prometheus.GaugeValue, "door_sessions", "Connections of another protocol than that of the rooms' ports, each in any number of rooms, by door.", "door", sessions)
	emitBy(ch, prometheus.GaugeValue, "door_members", "Members that are in a room by such a connection, by door.", "door", byDoor)
	gauge("members_lagging", "Members that have not got everything yet.", float64(lagging))
	gauge("worst_lag_events", "How many events the slowest member is behind.", float64(worst))
	gauge("connections", "Connections now, to the master port and to rooms.", float64(svc.Connections()))
	n := svc.Counters()
	counter("connections_accepted_total", "Connections accepted on any port.", n.Accepted)
	emitBy(ch, prometheus.CounterValue, "connections_refused_total", "Connections refused, by cause.", "cause", n.Refused)
	emitBy(ch, prometheus.CounterValue, "tls_failures_total", "TLS handshakes that failed, by cause.", "cause", n.TLSFailed)
	emitBy(ch, prometheus.CounterValue, "members_ended_total", "Members that have left, by cause.", "cause", n.Ended)
	emitBy(ch, prometheus.CounterValue, "foreign_connections_total", "Connections that spoke another protocol, by protocol.", "protocol", n.Foreign)
	emitBy(ch, prometheus.CounterValue, "sessions_ended_total", "Connections to the master port that have ended, by cause.", "cause", n.Sessions)
	emitBy(ch, prometheus.CounterValue, "rejected_lines_total", "Lines that were blank, too long, or had characters that were replaced, by kind.", "kind",
		map[string]uint64{"blank": n.Blank, "too long": n.TooLong, "cleaned": n.Cleaned})
	emitBy(ch, prometheus.CounterValue, "passwords_total", "Password checks before rooms with a password, by outcome.", "outcome",
		map[string]uint64{"right": n.Passwords.Right, "wrong": n.Passwords.Wrong, "throttled": n.Passwords.Throttled, "timed out": n.Passwords.TimedOut, "evicted": n.Passwords.Evicted})
	counter("rate_limited_total", "Connections that were refused or ended because of the rate limits on connections and requests.", n.RateLimited)
	counter("requests_throttled_total", "Requests to the master port that were delayed by a rate limit.", n.ThrottledRequests)
	counter("members_throttled_total", "Times that a member's input was delayed by the rate limit on lines.", n.ThrottledInputs)
	counter("lines_total", "Lines kept.", n.Lines)
	counter("deliveries_total", "Lines times the members that each was for.", n.Deliveries)
	counter("written_bytes_total", "Bytes written to members.", n.Bytes)
	counter("fanout_passes_total", "Fan-out passes over the members of a room.", n.Passes)
	counter("history_pages_total", "Pages of the history that were read from the database, for members and operators.", n.Pages)
	if file, free, err := st.Size(); err == nil {
		gauge("store_bytes", "Size of the database file.", float64(file))
		gauge("store_free_bytes", "Bytes of the database file that are free for what comes.", float64(free))
	}
	counter("store_corrupt_blocks_total", "Times that a reader skipped a corrupt block, or a record that has become corrupt since the start.", st.CorruptReads())
	skipped, _ := st.SkippedRecords()
	gauge("store_corrupt_records", "Records of rooms, bans, the audit and positions that were corrupt at the start and are skipped.", float64(skipped))
	flag("store_read_only", "1 from a failed write to the disk until the database is writable again.", st.ReadOnly() != nil)
	flag("store_full", "1 while changes are refused because the disk is full.", st.DiskFull())
	gauge("store_slow_disk_seconds", "How long the disk has not answered, if that is a second or more; else 0.", st.SlowDisk().Seconds())
	if until, since := c.from.Certificate(); !until.IsZero() {
		gauge("certificate_expiry_timestamp_seconds", "When the certificate in use expires.", float64(until.Unix()))
		gauge("certificate_renewed_timestamp_seconds", "When the certificate in use was taken up.", float64(since.Unix()))
	}
	dropped := make(map[string]uint64)
	for name, state := range c.from.Outputs {
		dropped[name], _ = state()
	}
	emitBy(ch, prometheus.CounterValue, "output_lines_dropped_total", "Lines of the log, or of standard output, that could not be written.", "output", dropped)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("roomd_"+name, help, labels, nil)
}

// emitBy sends a metric with a label.
func emitBy[K ~string, V int | uint64](ch chan<- prometheus.Metric, kind prometheus.ValueType, name, help, label string, values map[K]V) {
	d := desc(name, help, label)
	for of, v := range values {
		ch <- prometheus.MustNewConstMetric(d, kind, float64(v), string(of))
	}
}

// emitRooms sends the metrics of metrics.per_room.
func emitRooms(ch chan<- prometheus.Metric, rooms []netsvc.RoomDetail) {
	for _, m := range []struct {
		name, help string
		of         func(netsvc.RoomDetail) float64
	}{
		{"room_members", "Members of a room.", func(r netsvc.RoomDetail) float64 { return float64(r.Members) }},
		{"room_members_lagging", "Members of a room that have not got everything yet.", func(r netsvc.RoomDetail) float64 { return float64(r.Lagging) }},
		{"room_history_lines", "Lines in a room's history.", func(r netsvc.RoomDetail) float64 { return float64(r.Lines) }},
		{"room_history_bytes", "Bytes of a room's history.", func(r netsvc.RoomDetail) float64 { return float64(r.Bytes) }},
		{"room_newest_seq", "The newest sequence number of a room; it grows with each line.", func(r netsvc.RoomDetail) float64 { return float64(r.Newest) }},
	} {
		d := desc(m.name, m.help, "room")
		for _, r := range rooms {
			if r.ID != 0 {
				ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, m.of(r), r.Name)
			}
		}
	}
}
