package bench

import (
	"fmt"
	"time"
)

// String describes the work.
func (s Shape) String() string {
	what := fmt.Sprintf("%d × %d members", s.Rooms, s.Members)
	if s.Stopped > 0 {
		what += fmt.Sprintf(" (%d of each stopped)", s.Stopped)
	}
	switch s.Kind {
	case Fanout, History:
		what += fmt.Sprintf(", %d × %d in flight, %d bytes", s.Publishers, s.InFlight, s.Bytes)
	case Latency:
		what += fmt.Sprintf(", %g lines/s, %d bytes", s.Rate, s.Bytes)
	case Churn:
		what += fmt.Sprintf(", %d cycles, %d at once", s.Cycles, s.InFlight)
	}
	return what
}

// Rows returns the result for people: names and values.
func (r Result) Rows() [][]string {
	rows := [][]string{{r.Server, r.Shape.Kind + ": " + r.Shape.String()}}
	add := func(what, format string, args ...any) {
		rows = append(rows, []string{what, fmt.Sprintf(format, args...)})
	}
	if r.Deliveries > 0 {
		add("checked", "%d lines, %d deliveries: none lost, doubled or out of order", r.Lines, r.Deliveries)
	}
	if r.Shape.publishes() {
		add("rate", "%.0f lines/s, %.0f deliveries/s", perSecond(r.Lines, r.Took), perSecond(r.Deliveries, r.Took))
	}
	switch r.Shape.Kind {
	case Idle:
		add("memory", "%.0f bytes a member, %.1f MiB in all", r.PerMember, mib(r.Resident))
		add("while idle", "%.1f wake-ups/s, %.4f cores", r.WakeUps, r.Cores)
	case Churn:
		add("cycles", "%d, %.0f/s", r.Cycles, perSecond(uint64(r.Cycles), r.Took))
		add("getting in", "%s", r.latency())
	case Comeback:
		add("restart", "%s until it listens again", formatDuration(r.Restart))
		add("all back", "%s, %.0f bytes to each", formatDuration(r.Back), r.BytesBack)
	case Fanout, Latency:
		add("latency", "%s", r.latency())
	}
	if r.CaughtUp > 0 {
		add("caught up", "%s after they read again", formatDuration(r.CaughtUp))
	}
	if r.Shape.Kind != Churn {
		add("joining", "%s", formatDuration(r.Joining))
	}
	switch {
	case r.CPU == 0:
		add("server CPU", "its process cannot be read from here")
	case r.Cycles > 0:
		add("server CPU", "%.1f µs a cycle, %.2f cores", r.PerCycle, r.Cores)
	case r.Shape.publishes():
		add("server CPU", "%.3f µs a delivery, %.1f µs a line, %.2f cores", r.PerDelivery, r.PerLine, r.Cores)
		if r.Resident > 0 {
			add("memory", "%.1f MiB", mib(r.Resident))
		}
	}
	if r.Commits > 0 {
		add("commits", "%d, %s on average (p99 %s), %.1f MiB on disk", r.Commits, formatDuration(r.Commit), formatDuration(r.Commit99), mib(r.Disk))
	}
	if r.LoadCores > 0 {
		add("load", "%.2f cores", r.LoadCores)
	}
	for _, t := range r.Turns {
		add(fmt.Sprint(t.Lines, " lines"), "%.1f MiB on disk, %d commits of %s (p99 %s), %.0f lines/s",
			mib(t.Disk), t.Commits, formatDuration(t.Commit), formatDuration(t.Commit99), t.Rate)
	}
	return rows
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func perSecond(n uint64, d time.Duration) float64 { return float64(n) / d.Seconds() }

// formatDuration formats a duration with three digits.
func formatDuration(d time.Duration) string {
	v, unit := d.Seconds(), "s"
	switch {
	case d < 999500*time.Nanosecond:
		v, unit = v*1e6, "µs"
	case d < 999500*time.Microsecond:
		v, unit = v*1e3, "ms"
	}
	digits := 0
	for size := v; size < 99.95 && digits < 2; size *= 10 {
		digits++
	}
	return fmt.Sprintf("%.*f %s", digits, v, unit)
}
