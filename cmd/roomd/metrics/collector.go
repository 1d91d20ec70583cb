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
	// Settings, which may change while it serves.
	PerRoom  atomic.Bool // rooms have metrics of their own
	Profiles atomic.Bool // /debug/pprof/ answers
	Ready    atomic.Bool // every room is bound or known to be unbound, and the server does not stop

	from     Sources // set by Watch, before it is registered and ready
	registry *prometheus.Registry
	took     prometheus.Histogram
	lines    prometheus.Histogram
}

// Sources are what a Collector asks at each scrape.
type Sources struct {
	Service *netsvc.Service
	Store   *store.Store
	// Outputs gives, by what is printed there, how many lines were dropped since the
	// start, and how long the write under way has waited.
	Outputs map[string]func() (dropped uint64, waits time.Duration)
	// Certificate is until when the certificate in use is valid, and since when it is
	// in use; zero: there is none.
	Certificate func() (until, since time.Time)
}

// New makes a Collector for a roomd of that version, commit and version of Go. It
// can serve and observe at once; Watch must follow, and then Ready be set.
func New(version, commit, goVersion string) *Collector {
	c := &Collector{
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
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "go": goVersion},
	})
	info.Set(1)
	c.registry.MustRegister(c.took, c.lines, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return c
}

// Observe counts a commit, which took so long and had so many lines; it is for
// store.Options.
func (c *Collector) Observe(took time.Duration, lines int) {
	c.took.Observe(took.Seconds())
	if lines > 0 {
		c.lines.Observe(float64(lines))
	}
}

// Watch begins to collect from a server. It may be called once.
func (c *Collector) Watch(from Sources) error {
	c.from = from
	return c.registry.Register(c)
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
func (c *Collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect is of prometheus.Collector. A fault in it is the answer to the scrape, and
// not the end of the server.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	defer func() {
		if fault := recover(); fault != nil {
			ch <- prometheus.NewInvalidMetric(descFault, fmt.Errorf("a fault in roomd: %v", fault))
		}
	}()
	svc, st := c.from.Service, c.from.Store
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	flag := func(d *prometheus.Desc, is bool) { gauge(d, map[bool]float64{true: 1}[is]) }
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for state, n := range svc.States() {
		gauge(descRooms, float64(n), state)
	}
	members, lagging, worst := 0, 0, uint64(0)
	perRoom := c.PerRoom.Load()
	for _, r := range svc.Rooms() {
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
	gauge(descConns, float64(svc.Connections()))
	n := svc.Counters()
	counter(descAccepted, n.Accepted)
	for cause, times := range n.Refused {
		counter(descRefused, times, string(cause))
	}
	for cause, times := range n.TLSFailed {
		counter(descTLS, times, cause)
	}
	for cause, times := range n.Ended {
		counter(descEnded, times, string(cause))
	}
	for protocol, times := range n.Foreign {
		counter(descForeign, times, string(protocol))
	}
	for cause, times := range n.Sessions {
		counter(descSessions, times, string(cause))
	}
	counter(descOdd, n.Blank, "blank")
	counter(descOdd, n.TooLong, "too long")
	counter(descOdd, n.Cleaned, "cleaned")
	counter(descPasswords, n.Passwords.Right, "right")
	counter(descPasswords, n.Passwords.Wrong, "wrong")
	counter(descPasswords, n.Passwords.Held, "held")
	counter(descPasswords, n.Passwords.Late, "late")
	counter(descPasswords, n.Passwords.Crowded, "crowded")
	counter(descHurried, n.Hurried)
	counter(descSlowed, n.Slowed)
	counter(descSlowedIn, n.SlowedLines)
	counter(descLines, n.Lines)
	counter(descDeliveries, n.Deliveries)
	counter(descBytes, n.Bytes)
	counter(descPasses, n.Passes)
	counter(descPages, n.Pages)
	if file, free, err := st.Size(); err == nil {
		gauge(descStore, float64(file))
		gauge(descFree, float64(free))
	}
	counter(descDamaged, st.Damaged())
	leftOut, _ := st.LeftOut()
	gauge(descLeftOut, float64(leftOut))
	flag(descReadOnly, st.Broken() != nil)
	flag(descFull, st.Full())
	gauge(descStalled, st.Stalled().Seconds())
	if until, since := c.from.Certificate(); !until.IsZero() {
		gauge(descExpires, float64(until.Unix()))
		gauge(descRenewed, float64(since.Unix()))
	}
	for name, state := range c.from.Outputs {
		dropped, _ := state()
		counter(descDropped, dropped, name)
	}
}
