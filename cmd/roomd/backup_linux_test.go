package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/cmd/roomd/bench"
	"roomd/store"
)

// BenchmarkBackup is what deliveries cost while a backup of a database of
// 200 MB runs, beside what they cost without one: 1,000 lines a second for 256
// members. The backups' own work is in that.
func BenchmarkBackup(b *testing.B) {
	const size = 200 << 20
	p := newProcess(b, "history.lines = 0\nlimits.members = 1000\nlimits.per_address = 0")
	p.binary = plainBinary(b)
	st, err := store.Open(filepath.Join(p.dir, "roomd.db"), store.Options{Durability: store.Relaxed})
	if err != nil {
		b.Fatal(err)
	}
	st.Start(store.Follower{})
	old, err := st.Create(store.Room{Name: "old", Key: "old", Port: p.first})
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("something that was said long ago ", 30)
	for range size / len(text) {
		if err := st.Submit(b.Context(), &store.Post{Room: old.ID, Line: store.Line{Kind: store.Message, From: "ann", Text: text}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
	p.start()
	backup := func() {
		if _, errs, status := p.admin("backup", filepath.Join(p.dir, "backup.db"), "--keep", "1"); status != 0 {
			b.Error(errs)
		}
	}
	shape := bench.Default(bench.Latency)
	shape.Rate, shape.Duration = 1000, 6*time.Second
	talk := func() bench.Result {
		r, err := bench.Run(b.Context(), bench.Server{
			Protocol: "roomd", PID: p.cmd.Process.Pid, Address: netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", p.master)),
		}, shape)
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	for b.Loop() {
		quiet := talk()
		backups := 0
		over, stop := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(over)
			for {
				select {
				case <-stop:
					return
				default:
					backup()
					backups++
				}
			}
		}()
		busy := talk()
		close(stop)
		<-over
		b.ReportMetric(quiet.PerDelivery, "quiet-cpu-us/delivery")
		b.ReportMetric(busy.PerDelivery, "with-cpu-us/delivery")
		b.ReportMetric(100*(busy.PerDelivery/quiet.PerDelivery-1), "%-more-cpu")
		b.ReportMetric(float64(backups), "backups")
		b.ReportMetric(quiet.P50.Seconds()*1e3, "quiet-p50-ms")
		b.ReportMetric(busy.P50.Seconds()*1e3, "with-p50-ms")
		b.ReportMetric(quiet.P99.Seconds()*1e3, "quiet-p99-ms")
		b.ReportMetric(busy.P99.Seconds()*1e3, "with-p99-ms")
	}
}
