package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Case is a shape with a name, and the cell that shows its result.
type Case struct {
	Name      string `json:"name"`
	Shape     Shape  `json:"shape"`
	show      func(Result) string
	roomdOnly bool // the peers cannot do it, or disconnect such members
	irc       bool // IRC servers do it, too
}

// contender is a server to measure.
type contender struct {
	name         string // in the table
	process      Process
	skippedKinds []string // kinds of work that tell nothing new of it
}

// takes reports whether a case is for a contender.
func (w contender) takes(c Case) bool {
	if slices.Contains([]string{"irc", "inspircd", "ngircd"}, w.process.Protocol) {
		return c.irc
	}
	return !slices.Contains(w.skippedKinds, c.Shape.Kind) && !(c.roomdOnly && w.process.Protocol != "roomd")
}

// contenders returns roomd and, if the report is to have them, the installed peers. It
// tells of the others.
func (p *Report) contenders(cpu int) []contender {
	all := []contender{
		{"roomd", Process{Protocol: "roomd", Binary: p.Roomd, Dir: p.Dir, Durability: "commit", CPU: cpu}, nil},
		{"roomd, relaxed", Process{Protocol: "roomd", Binary: p.Roomd, Dir: p.Dir, Durability: "relaxed", CPU: cpu}, []string{Idle, Churn, Comeback, History}},
		{"roomd, IRC", Process{Protocol: "irc", Binary: p.Roomd, Dir: p.Dir, Durability: "commit", CPU: cpu}, nil},
	}
	if !p.Peers {
		return all
	}
	for _, c := range []struct{ name, protocol, binary string }{
		{"Redis", "redis", "redis-server"}, {"NATS", "nats", "nats-server"}, {"InspIRCd", "inspircd", "inspircd"}, {"ngIRCd", "ngircd", "ngircd"},
	} {
		path, err := lookPath(c.binary)
		if err != nil {
			fmt.Fprintf(p.Progress, "%s is not installed and is left out (Debian has it as a package)\n", c.binary)
			continue
		}
		all = append(all, contender{c.name, Process{Protocol: c.protocol, Binary: path, Dir: p.Dir, CPU: cpu}, nil})
	}
	return all
}

// Standard returns the shapes of make bench and make bench-peers whose name contains a
// text.
func Standard(only string) []Case {
	with := func(kind string, change func(*Shape)) Shape {
		s := Default(kind)
		change(&s)
		return s
	}
	rate := func(r float64) Shape { return with(Latency, func(s *Shape) { s.Rate = r }) }
	cpu := func(r Result) string { return fmt.Sprintf("%.3f µs", r.PerDelivery) }
	// Where lines are on disk first, a commit is part of the time.
	commits := func(r Result) string {
		if r.Durability != "commit" {
			return ""
		}
		return fmt.Sprintf(" (commits %s, %s)", formatDuration(r.Commit), formatDuration(r.Commit99))
	}
	times := func(r Result) string {
		return fmt.Sprintf("%s, %s; %.2f%s", formatDuration(r.P50), formatDuration(r.P99), r.Cores, commits(r))
	}
	all := []Case{
		{"1 room × 256: CPU per delivery", Default(Fanout), cpu, false, true},
		{"1 room × 256, one sender: CPU per delivery", with(Fanout, func(s *Shape) { s.Publishers = 1 }), cpu, false, true},
		{"16 rooms × 64: CPU per delivery", with(Fanout, func(s *Shape) { s.Rooms, s.Members = 16, 64 }), cpu, false, false},
		{"1 room × 2,000: CPU per delivery", with(Fanout, func(s *Shape) { s.Members = 2000 }), cpu, false, false},
		{"1 room × 256, 512 bytes: CPU per delivery", with(Fanout, func(s *Shape) { s.Bytes = 512 }), cpu, false, false},
		{"1 room × 256, one stopped: CPU per delivery", with(Fanout, func(s *Shape) { s.Stopped = 1 }), cpu, true, false},
		{"one line in flight: CPU per delivery; p50, p99", with(Fanout, func(s *Shape) { s.Publishers, s.InFlight = 1, 1 }),
			func(r Result) string {
				return fmt.Sprintf("%.2f µs; %s, %s%s", r.PerDelivery, formatDuration(r.P50), formatDuration(r.P99), commits(r))
			}, false, false},
		{"200 lines/s into 256: p50, p99; cores", rate(200), times, false, false},
		{"2,000 lines/s into 256: p50, p99; cores", rate(2000), times, false, false},
		{"19,000 idle: bytes each; wake-ups/s", Default(Idle),
			func(r Result) string { return fmt.Sprintf("%.0f; %.1f", r.PerMember, r.WakeUps) }, false, false},
		{"10,000 idle in rooms of 100: bytes each; wake-ups/s", with(Idle, func(s *Shape) { s.Rooms, s.Members = 100, 100 }),
			func(r Result) string { return fmt.Sprintf("%.0f; %.1f", r.PerMember, r.WakeUps) }, false, true},
		{"joining and leaving: CPU per cycle", Default(Churn),
			func(r Result) string { return fmt.Sprintf("%.1f µs", r.PerCycle) }, false, false},
		{"5,000 reconnect after a restart: time until all are in; bytes to each", Default(Comeback),
			func(r Result) string { return fmt.Sprintf("%s; %.0f", formatDuration(r.Back), r.BytesBack) }, false, false},
		{"100,000 lines kept, turned over 12 times: on disk, mean commit, after 2 and 12", Default(History),
			func(r Result) string {
				a, b := r.Turns[1], r.Turns[len(r.Turns)-1]
				return fmt.Sprintf("%.1f, %.1f MiB; %s, %s", mib(a.Disk), mib(b.Disk), formatDuration(a.Commit), formatDuration(b.Commit))
			}, true, false},
	}
	return slices.DeleteFunc(all, func(c Case) bool { return !strings.Contains(c.Name, only) })
}

// comparison is a case with its results by contender: all runs, and the median of each
// number over them.
type comparison struct {
	Case
	Medians map[string]Result   `json:"medians"`
	Runs    map[string][]Result `json:"runs"`
}

// Compare measures the cases with roomd, and with the peers if the report is to have
// them. A fault does not end it; it is part of the error.
func (p *Report) Compare(ctx context.Context, cases []Case) error {
	cpu, err := SeparateProcessors()
	if err != nil {
		return err
	}
	contenders := p.contenders(cpu)
	note, err := environment(p.Dir, contenders)
	if err != nil {
		return err
	}
	all, fault := p.compare(ctx, cases, contenders)
	switch {
	case all == nil:
		return fault
	case p.JSON:
		return errors.Join(fault, PrintJSON(p.Out, all))
	case fault != nil:
		p.Page = ""
	}
	return errors.Join(fault, p.write("bench", []section{{fmt.Sprintf("%s Medians of %d.", note, p.Runs), table(all, contenders)}}))
}

// compare runs all cases with all contenders. Every run goes through all of them, so
// that other work of the machine affects all alike.
func (p *Report) compare(ctx context.Context, cases []Case, contenders []contender) ([]comparison, error) {
	var all []comparison
	for _, c := range cases {
		all = append(all, comparison{c, make(map[string]Result), make(map[string][]Result)})
	}
	began := time.Now()
	var faults []error
	for range p.Runs {
		for _, c := range all {
			for _, w := range contenders {
				if !w.takes(c.Case) {
					continue
				}
				r, err := StartAndRun(ctx, w.process, c.Shape)
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(p.Pause):
				}
				if err != nil {
					fmt.Fprintf(p.Progress, "%s: %s: %s\n", c.Name, w.name, r.Fault)
					faults = append(faults, fmt.Errorf("%s: %s: %w", c.Name, w.name, err))
					continue
				}
				fmt.Fprintf(p.Progress, "%5.0fs  %s: %s: %.3f µs/delivery, p99 %v, load %.2f cores\n",
					time.Since(began).Seconds(), c.Name, w.name, r.PerDelivery, r.P99, r.LoadCores)
				c.Runs[w.name] = append(c.Runs[w.name], r)
				c.Medians[w.name] = median(c.Runs[w.name])
			}
		}
	}
	return all, errors.Join(faults...)
}

// StartAndRun starts a server for a shape, runs it, and stops the server.
func StartAndRun(ctx context.Context, own Process, shape Shape) (r Result, err error) {
	own.Rooms, own.Members = shape.Rooms+shape.Silent, shape.Rooms*shape.Members+shape.InFlight
	switch {
	case shape.Kind == History:
		own.History = shape.Keep
	case shape.Stopped > 0:
		own.History = 0 // the lines that they miss are kept until they read on
	}
	if err := own.Start(ctx); err != nil {
		err = errors.Join(err, own.Stop())
		return Result{Server: own.Protocol, Shape: shape, Fault: err.Error()}, err
	}
	r, err = Run(ctx, own.Server(), shape)
	if stop := own.Stop(); stop != nil {
		err = errors.Join(err, stop)
		r.Fault = err.Error()
	}
	return r, err
}

// median takes the median of each number; the rest is that of the last run.
func median(runs []Result) Result {
	m := runs[len(runs)-1]
	v := reflect.ValueOf(&m).Elem()
	number := reflect.TypeFor[float64]()
	for _, of := range reflect.VisibleFields(v.Type()) {
		f := v.FieldByIndex(of.Index)
		if !f.CanConvert(number) {
			continue
		}
		sorted := slices.SortedFunc(slices.Values(runs), func(a, b Result) int {
			value := func(r Result) float64 { return reflect.ValueOf(r).FieldByIndex(of.Index).Convert(number).Float() }
			return cmp.Compare(value(a), value(b))
		})
		f.Set(reflect.ValueOf(sorted[len(sorted)/2]).FieldByIndex(of.Index))
	}
	return m
}

// table has a row for each case, and a column for each contender.
func table(all []comparison, contenders []contender) [][]string {
	rows := [][]string{{""}}
	for _, w := range contenders {
		rows[0] = append(rows[0], w.name)
	}
	for _, c := range all {
		row := []string{c.Name}
		for _, w := range contenders {
			cell := ""
			if r, ok := c.Medians[w.name]; ok {
				cell = c.show(r)
			} else if w.takes(c.Case) {
				cell = "failed"
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return rows
}
