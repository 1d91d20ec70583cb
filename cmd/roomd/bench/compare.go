package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Case is a shape with a name, and what of its result is of interest.
type Case struct {
	Name      string
	Shape     Shape
	show      func(Result) string
	roomdOnly bool // the peers have no such thing, or let such members go
}

// contender is a server to measure.
type contender struct {
	name         string // in the table
	process      Process
	skippedKinds []string // kinds of work that tell nothing new of it
}

// contenders are roomd and, if the report is to have them, those of the peers that
// are installed. missing names the others.
func (p *Report) contenders(cpu int) (all []contender, missing []string) {
	all = []contender{
		{"roomd", Process{Protocol: "roomd", Binary: p.Roomd, Dir: p.Dir, Durability: "commit", CPU: cpu}, nil},
		{"roomd, relaxed", Process{Protocol: "roomd", Binary: p.Roomd, Dir: p.Dir, Durability: "relaxed", CPU: cpu}, []string{Idle, Churn, Comeback, History}},
	}
	if !p.Peers {
		return all, nil
	}
	for _, c := range []struct{ name, protocol, binary string }{{"Redis", "redis", "redis-server"}, {"NATS", "nats", "nats-server"}} {
		path, err := exec.LookPath(c.binary)
		if err != nil {
			path, err = exec.LookPath("/usr/sbin/" + c.binary) // not in everybody's PATH
		}
		if err != nil {
			missing = append(missing, c.binary)
			continue
		}
		all = append(all, contender{c.name, Process{Protocol: c.protocol, Binary: path, Dir: p.Dir, CPU: cpu}, nil})
	}
	return all, missing
}

// Standard are the shapes that make bench and make bench-peers run, as far as their
// name contains a text.
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
		{"1 room × 256: CPU per delivery", Default(Fanout), cpu, false},
		{"16 rooms × 64: CPU per delivery", with(Fanout, func(s *Shape) { s.Rooms, s.Members = 16, 64 }), cpu, false},
		{"1 room × 2,000: CPU per delivery", with(Fanout, func(s *Shape) { s.Members = 2000 }), cpu, false},
		{"1 room × 256, 512 bytes: CPU per delivery", with(Fanout, func(s *Shape) { s.Bytes = 512 }), cpu, false},
		{"1 room × 256, one stopped: CPU per delivery", with(Fanout, func(s *Shape) { s.Stopped = 1 }), cpu, true},
		{"one line in flight: CPU per delivery; p50, p99", with(Fanout, func(s *Shape) { s.Publishers, s.InFlight = 1, 1 }),
			func(r Result) string {
				return fmt.Sprintf("%.2f µs; %s, %s%s", r.PerDelivery, formatDuration(r.P50), formatDuration(r.P99), commits(r))
			}, false},
		{"200 lines/s into 256: p50, p99; cores", rate(200), times, false},
		{"2,000 lines/s into 256: p50, p99; cores", rate(2000), times, false},
		{"19,000 idle: bytes each; wake-ups/s", Default(Idle),
			func(r Result) string { return fmt.Sprintf("%.0f; %.1f", r.PerMember, r.WakeUps) }, false},
		{"joining and leaving: CPU per cycle", Default(Churn),
			func(r Result) string { return fmt.Sprintf("%.1f µs", r.PerCycle) }, false},
		{"5,000 back after a restart: all in after; bytes to each", Default(Comeback),
			func(r Result) string { return fmt.Sprintf("%s; %.0f", formatDuration(r.Back), r.BytesBack) }, false},
		{"100,000 lines kept, turned over 12 times: on disk, mean commit, after 2 and 12", Default(History),
			func(r Result) string {
				a, b := r.Turns[1], r.Turns[len(r.Turns)-1]
				return fmt.Sprintf("%.1f, %.1f MiB; %s, %s", mib(a.Disk), mib(b.Disk), formatDuration(a.Commit), formatDuration(b.Commit))
			}, true},
	}
	return slices.DeleteFunc(all, func(c Case) bool { return !strings.Contains(c.Name, only) })
}

// comparison is a case with its results: of each contender the median of each
// number over the runs, and all runs.
type comparison struct {
	Name       string              `json:"name"`
	Shape      Shape               `json:"shape"`
	Medians    map[string]Result   `json:"medians"`
	Runs       map[string][]Result `json:"runs"`
	show       func(Result) string
	contenders []contender
}

// Compare measures the cases with roomd, and with the peers if it is to. A fault does
// not end it; it is part of the error.
func (p *Report) Compare(ctx context.Context, cases []Case) error {
	cpu, err := SeparateProcessors()
	if err != nil {
		return err
	}
	who, missing := p.contenders(cpu)
	for _, name := range missing {
		fmt.Fprintf(p.Progress, "%s is not installed and is left out (Debian has it as a package)\n", name)
	}
	note, err := environment(p.Dir, who)
	if err != nil {
		return err
	}
	all, fault := p.compare(ctx, cases, who)
	if all == nil {
		return fault
	}
	if p.JSON {
		return errors.Join(fault, PrintJSON(p.Out, all))
	}
	rows := table(all, who)
	fmt.Fprintf(p.Out, "%s\nMedians of %d.\n\n", note, p.Runs)
	if err := Print(p.Out, rows); err != nil || fault != nil || p.Page == "" {
		return errors.Join(err, fault)
	}
	return writePage(p.Page, "bench", []section{{fmt.Sprintf("%s Medians of %d.", note, p.Runs), rows}})
}

// compare runs all cases with all contenders. Every run goes through all of them, so
// that what else the machine does hits all alike.
func (p *Report) compare(ctx context.Context, cases []Case, who []contender) ([]comparison, error) {
	var all []comparison
	for _, c := range cases {
		all = append(all, comparison{c.Name, c.Shape, make(map[string]Result), make(map[string][]Result), c.show, contendersFor(c, who)})
	}
	began := time.Now()
	var faults []error
	for range p.Runs {
		for i, c := range cases {
			for _, w := range all[i].contenders {
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
				all[i].Runs[w.name] = append(all[i].Runs[w.name], r)
			}
		}
	}
	for _, c := range all {
		for name, rs := range c.Runs {
			c.Medians[name] = median(rs)
		}
	}
	return all, errors.Join(faults...)
}

// contendersFor are the contenders that a case is for.
func contendersFor(c Case, who []contender) (all []contender) {
	for _, w := range who {
		if !slices.Contains(w.skippedKinds, c.Shape.Kind) && !(c.roomdOnly && w.process.Protocol != "roomd") {
			all = append(all, w)
		}
	}
	return all
}

// StartAndRun starts a server for a shape, runs it, and stops the server.
func StartAndRun(ctx context.Context, own Process, shape Shape) (r Result, err error) {
	own.Rooms, own.Members = shape.Rooms+shape.Silent, shape.Rooms*shape.Members+shape.InFlight
	switch {
	case shape.Kind == History:
		own.History = shape.Keep
	case shape.Stopped > 0:
		own.History = 0 // what they miss is kept until they read on
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
func median(rs []Result) Result {
	m := rs[len(rs)-1]
	v := reflect.ValueOf(&m).Elem()
	for _, of := range reflect.VisibleFields(v.Type()) {
		f := v.FieldByIndex(of.Index)
		if !f.CanInt() && !f.CanUint() && !f.CanFloat() {
			continue
		}
		sorted := make([]reflect.Value, len(rs))
		for j := range rs {
			sorted[j] = reflect.ValueOf(rs[j]).FieldByIndex(of.Index)
		}
		slices.SortFunc(sorted, func(a, b reflect.Value) int {
			switch {
			case a.CanInt():
				return cmp.Compare(a.Int(), b.Int())
			case a.CanUint():
				return cmp.Compare(a.Uint(), b.Uint())
			}
			return cmp.Compare(a.Float(), b.Float())
		})
		f.Set(sorted[len(sorted)/2])
	}
	return m
}

// table is the comparison, one row a case, one column a contender.
func table(all []comparison, who []contender) [][]string {
	head := []string{""}
	for _, w := range who {
		head = append(head, w.name)
	}
	rows := [][]string{head}
	for _, c := range all {
		row := []string{c.Name}
		for _, w := range who {
			cell := ""
			if r, ok := c.Medians[w.name]; ok {
				cell = c.show(r)
			} else if slices.ContainsFunc(c.contenders, func(o contender) bool { return o.name == w.name }) {
				cell = "failed"
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return rows
}
