package bench

import (
	"context"
	"fmt"
	"time"
)

// Grow measures how the cost of roomd grows: over the members of a room, the rooms,
// and the lines of a room's history, up to most. Each point is the median of the
// runs, but for the history, which is one room that grows.
func (p *Report) Grow(ctx context.Context, most uint64) error {
	own := Process{Protocol: "roomd", Durability: "commit", Binary: p.Roomd, Dir: p.Dir}
	var err error
	if own.CPU, err = SeparateProcessors(); err != nil {
		return err
	}
	note, err := environment(p.Dir, nil)
	if err != nil {
		return err
	}
	began := time.Now()
	all, err := growth(ctx, own, most, p.Runs, func(what string, r Result) {
		fmt.Fprintf(p.Progress, "%5.0fs  %s: %.3f µs/delivery, %.1f µs/line\n", time.Since(began).Seconds(), what, r.PerDelivery, r.PerLine)
	})
	if err != nil {
		return err
	}
	all[0].note = fmt.Sprintf("%s Medians of %d.\n\n%s", note, p.Runs, all[0].note)
	for _, s := range all {
		fmt.Fprintf(p.Out, "%s\n\n", s.note)
		if err := Print(p.Out, s.rows); err != nil {
			return err
		}
		fmt.Fprintln(p.Out)
	}
	if p.Page == "" {
		return nil
	}
	return writePage(p.Page, "growth", all)
}

// growth makes the tables. told is called after each run.
func growth(ctx context.Context, own Process, most uint64, runs int, told func(what string, r Result)) ([]section, error) {
	var all []section
	members := section{
		note: "Members: one room, 8 × 64 lines in flight.",
		rows: [][]string{{"members", "CPU per delivery", "CPU per line", "deliveries/s", "server, cores", "server memory"}},
	}
	for _, n := range []int{16, 64, 256, 1000, 2000, 5000} {
		s := Default(Fanout)
		s.Members = n
		r, err := runMedian(ctx, own, s, runs, told)
		if err != nil {
			return nil, err
		}
		members.rows = append(members.rows, []string{formatCount(n), fmt.Sprintf("%.3f µs", r.PerDelivery), fmt.Sprintf("%.1f µs", r.PerLine),
			fmt.Sprintf("%.1f million", perSecond(r.Deliveries, r.Took)/1e6), fmt.Sprintf("%.2f", r.Cores), fmt.Sprintf("%.0f MiB", mib(r.Resident))})
	}
	all = append(all, members)

	limit, err := raiseDescriptors(1 << 16)
	if err != nil {
		return nil, err
	}
	const rate = 1000
	rooms := section{
		note: fmt.Sprintf("Rooms: %d lines a second in all, a member in each room, or in as many as %d descriptors allow, who says a line in turn.", rate, limit),
		rows: [][]string{{"rooms", "CPU per line", "p50", "p99", "commits/s", "commit, mean", "server memory"}},
	}
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		s := Default(Latency)
		s.Members, s.Publishers, s.Rate = 1, 1, rate
		s.Rooms = min(n, int(limit)-n-spareDescriptors)
		s.Silent = n - s.Rooms
		r, err := runMedian(ctx, own, s, runs, told)
		if err != nil {
			return nil, err
		}
		rooms.rows = append(rooms.rows, []string{formatCount(n), fmt.Sprintf("%.1f µs", r.PerLine), formatDuration(r.P50), formatDuration(r.P99),
			fmt.Sprintf("%.0f", float64(r.Commits)/(r.Took+s.WarmUp).Seconds()), formatDuration(r.Commit), fmt.Sprintf("%.0f MiB", mib(r.Resident))})
	}
	all = append(all, rooms)

	history, err := growHistory(ctx, own, most, told)
	return append(all, history), err
}

// runMedian runs a shape some times and takes the medians.
func runMedian(ctx context.Context, own Process, s Shape, runs int, told func(string, Result)) (Result, error) {
	var all []Result
	for range runs {
		r, err := StartAndRun(ctx, own, s)
		if err != nil {
			return r, fmt.Errorf("%v: %w", s, err)
		}
		told(s.String(), r)
		all = append(all, r)
	}
	return median(all), nil
}

// growHistory fills one room more and more, and measures speaking, joining and
// starting at each size.
func growHistory(ctx context.Context, own Process, most uint64, told func(string, Result)) (section, error) {
	table := section{
		note: "History: one room that keeps all its lines, 16 members, 8 × 64 lines in flight.",
		rows: [][]string{{"lines", "CPU per line", "commit, mean", "joining and leaving", "start", "on disk", "bytes a line"}},
	}
	own.History, own.Rooms, own.Members = 0, 1, 100
	defer own.Stop() // its data is of no value
	if err := own.Start(ctx); err != nil {
		return table, err
	}
	room, _, err := makeRooms(own.Server(), protocol{wire: roomdWire{}, masterPort: true}, 1)
	if err != nil {
		return table, err
	}
	run := func(what string, s Shape) (Result, error) {
		server := own.Server()
		server.rooms = room
		r, err := Run(ctx, server, s)
		if err != nil {
			return r, fmt.Errorf("%s: %w", what, err)
		}
		told(what, r)
		return r, nil
	}
	for total, size := uint64(0), uint64(0); size <= most; size = max(10000, size*10) {
		if size > total {
			fill := Default(Fanout)
			fill.Members, fill.InFlight, fill.WarmUp, fill.Duration, fill.Lines = 8, 512, 0, 30*time.Minute, size-total
			r, err := run("filling", fill)
			if err != nil {
				return table, err
			}
			total += r.Lines
		}
		if err := own.terminate(); err != nil {
			return table, err
		}
		began := time.Now()
		if err := own.Start(ctx); err != nil {
			return table, err
		}
		start := time.Since(began)
		churn := Default(Churn)
		churn.Cycles = 5000
		visits, err := run("visiting", churn)
		if err != nil {
			return table, err
		}
		s := Default(Fanout)
		s.Members, s.WarmUp, s.Lines = 16, 0, 5000
		spoken, err := run("speaking", s)
		if err != nil {
			return table, err
		}
		total += spoken.Lines
		table.rows = append(table.rows, []string{formatCount(int(size)), fmt.Sprintf("%.1f µs", spoken.PerLine), formatDuration(spoken.Commit),
			fmt.Sprintf("%.1f µs", visits.PerCycle), formatDuration(start), fmt.Sprintf("%.1f MiB", mib(spoken.Disk)), fmt.Sprintf("%.0f", float64(spoken.Disk)/float64(total))})
	}
	return table, nil
}

// formatCount is a number with its thousands apart.
func formatCount(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
