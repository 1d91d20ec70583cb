package bench

import (
	"fmt"
	"runtime"
	"time"
)

// Pin keeps this process on a processor from now on.
func Pin(cpu int) error {
	runtime.GOMAXPROCS(1)
	return pin(cpu, true)
}

// Rows is the result for people: what, and how much.
func (r Result) Rows() [][2]string {
	s := r.Shape
	what := fmt.Sprintf("%s: %d × %d members, %d publishers each, %d bytes", s.Kind, s.Rooms, s.Members, s.Publishers, s.Bytes)
	if s.Kind == "latency" {
		what += fmt.Sprintf(", %g lines/s", s.Rate)
	} else {
		what += fmt.Sprintf(", %d in flight each", s.InFlight)
	}
	rows := [][2]string{
		{r.Server, what},
		{"checked", fmt.Sprintf("%d lines, %d deliveries: none lost, doubled or out of order", r.Lines, r.Deliveries)},
		{"rate", fmt.Sprintf("%.0f lines/s, %.0f deliveries/s", per(r.Lines, r.Took), per(r.Deliveries, r.Took))},
		{"latency", fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, max %s", short(r.P50), short(r.P99), short(r.P999), short(r.Max))},
		{"joining", short(r.Joining)},
	}
	if r.CPU > 0 {
		rows = append(rows,
			[2]string{"server CPU", fmt.Sprintf("%.3f µs a delivery, %.1f µs a line, %.2f cores", r.PerDeliver, r.PerLine, r.Cores)},
			[2]string{"memory", fmt.Sprintf("%.1f MiB", float64(r.Resident)/(1<<20))})
	} else {
		rows = append(rows, [2]string{"server CPU", "its process is not to be seen from here"})
	}
	return append(rows, [2]string{"load", fmt.Sprintf("%.2f cores", r.LoadCores)})
}

func per(n uint64, d time.Duration) float64 { return float64(n) / d.Seconds() }

// short is a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3gms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3gµs", float64(d)/1e3)
}
