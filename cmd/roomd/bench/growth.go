package bench

import (
	"context"
	"fmt"
	"time"
)

// Grow measures how the cost of roomd grows: over the members of a room, the rooms, and
// the lines of a room's history, up to maxLines. Each point is the median of the runs,
// but for the history, which is one room that grows.
func (p *Report) Grow(ctx context.Context, maxLines uint64) error {
	process := Process{Protocol: "roomd", Durability: "commit", Binary: p.Roomd, Dir: p.Dir}
	var err error
	if process.CPU, err = SeparateProcessors(); err != nil {
		return err
	}
	note, err := environment(p.Dir, nil)
	if err != nil {
		return err
	}
	limit, err := raiseDescriptors(1 << 16)
	if err != nil {
		return err
	}
	began := time.Now()
	progress := func(what string, r Result) {
		fmt.Fprintf(p.Progress, "%5.0fs  %s: %.3f µs/delivery, %.1f µs/line\n", time.Since(began).Seconds(), what, r.PerDelivery, r.PerLine)
	}

	members := section{
		note: fmt.Sprintf("%s Medians of %d.\n\nMembers: one room, 8 × 64 lines in flight.", note, p.Runs),
		rows: [][]string{{"members", "CPU per delivery", "CPU per line", "deliveries/s", "server, cores", "server memory"}},
	}
	for _, n := range []int{16, 64, 256, 1000, 2000, 5000} {
		s := Default(Fanout)
		s.Members = n
		r, err := runMedian(ctx, process, s, p.Runs, progress)
		if err != nil {
			return err
		}
		members.rows = append(members.rows, []string{formatCount(n), fmt.Sprintf("%.3f µs", r.PerDelivery), fmt.Sprintf("%.1f µs", r.PerLine),
			fmt.Sprintf("%.1f million", perSecond(r.Deliveries, r.Took)/1e6), fmt.Sprintf("%.2f", r.Cores), fmt.Sprintf("%.0f MiB", mib(r.Resident))})
	}

	const rate = 1000
	rooms := section{
		note: fmt.Sprintf("Rooms: %d lines a second in all, a member in each room, or in as many as %d descriptors allow, which send in turn.", rate, limit),
		rows: [][]string{{"rooms", "CPU per line", "p50", "p99", "commits/s", "commit, mean", "server memory"}},
	}
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		s := Default(Latency)
		s.Members, s.Publishers, s.Rate = 1, 1, rate
		s.Rooms = min(n, int(limit)-n-spareDescriptors)
		s.Silent = n - s.Rooms
		r, err := runMedian(ctx, process, s, p.Runs, progress)
		if err != nil {
			return err
		}
		rooms.rows = append(rooms.rows, []string{formatCount(n), fmt.Sprintf("%.1f µs", r.PerLine), formatDuration(r.P50), formatDuration(r.P99),
			fmt.Sprintf("%.0f", float64(r.Commits)/(r.Took+s.WarmUp).Seconds()), formatDuration(r.Commit), fmt.Sprintf("%.0f MiB", mib(r.Resident))})
	}

	history, err := growHistory(ctx, process, maxLines, progress)
	if err != nil {
		return err
	}
	return p.write("growth", []section{members, rooms, history})
}

// runMedian runs a shape some times and takes the medians.
func runMedian(ctx context.Context, process Process, s Shape, runs int, progress func(string, Result)) (Result, error) {
	var all []Result
	for range runs {
		r, err := StartAndRun(ctx, process, s)
		if err != nil {
			return r, fmt.Errorf("%v: %w", s, err)
		}
		progress(s.String(), r)
		all = append(all, r)
	}
	return median(all), nil
}

// growHistory fills one room, and measures publishing, joining and starting at each
// size.
func growHistory(ctx context.Context, process Process, maxLines uint64, progress func(string, Result)) (section, error) {
	table := section{
		note: "History: one room that keeps all its lines, 16 members, 8 × 64 lines in flight.",
		rows: [][]string{{"lines", "CPU per line", "commit, mean", "joining and leaving", "start", "on disk", "bytes a line"}},
	}
	process.History, process.Rooms, process.Members = 0, 1, 100
	defer process.Stop() // its data is of no value
	if err := process.Start(ctx); err != nil {
		return table, err
	}
	room, _, err := makeRooms(process.Server(), protocols["roomd"], 1)
	if err != nil {
		return table, err
	}
	run := func(what string, s Shape) (Result, error) {
		server := process.Server()
		server.rooms = room
		r, err := Run(ctx, server, s)
		if err != nil {
			return r, fmt.Errorf("%s: %w", what, err)
		}
		progress(what, r)
		return r, nil
	}
	for total, size := uint64(0), uint64(0); size <= maxLines; size = max(10000, size*10) {
		if size > total {
			fill := Default(Fanout)
			fill.Members, fill.InFlight, fill.WarmUp, fill.Duration, fill.Lines = 8, 512, 0, 30*time.Minute, size-total
			r, err := run("filling", fill)
			if err != nil {
				return table, err
			}
			total += r.Lines
		}
		if err := process.terminate(); err != nil {
			return table, err
		}
		began := time.Now()
		if err := process.Start(ctx); err != nil {
			return table, err
		}
		start := time.Since(began)
		churn := Default(Churn)
		churn.Cycles = 5000
		visits, err := run("visiting", churn)
		if err != nil {
			return table, err
		}
		publishing := Default(Fanout)
		publishing.Members, publishing.WarmUp, publishing.Lines = 16, 0, 5000
		r, err := run("publishing", publishing)
		if err != nil {
			return table, err
		}
		total += r.Lines
		table.rows = append(table.rows, []string{formatCount(int(size)), fmt.Sprintf("%.1f µs", r.PerLine), formatDuration(r.Commit),
			fmt.Sprintf("%.1f µs", visits.PerCycle), formatDuration(start), fmt.Sprintf("%.1f MiB", mib(r.Disk)), fmt.Sprintf("%.0f", float64(r.Disk)/float64(total))})
	}
	return table, nil
}

// formatCount formats a number with commas between its thousands.
func formatCount(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
