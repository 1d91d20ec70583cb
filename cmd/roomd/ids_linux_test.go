package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"roomd/netsvc/client"
)

// The Go library and a shell script send lines while the server is killed, and in each gap somebody else
// takes their nicks. Every line is in its room once, in order.
func TestIDsThroughKills(t *testing.T) {
	needs(t, "bash", "od")
	lines, kills := 2000, 3
	if soak {
		lines, kills = 100_000, 20
	}
	p := newProcess(t, fast+"\nserver.create = [\"lobby\", \"ops\"]")
	p.start()
	want := make([]string, lines)
	for i := range want {
		want[i] = fmt.Sprint("line ", i, strings.Repeat(" é", i%20))
	}
	want[lines/2] = "/path of a file" // a text, and no command
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()

	heard := make(map[string]*atomic.Int64)
	for _, room := range []string{"lobby", "ops"} {
		n, ear := new(atomic.Int64), p.join(room, client.JoinOptions{})
		heard[room] = n
		go func() {
			for ev := range ear.Events(ctx) {
				if ev.Stored() {
					n.Add(1)
				}
			}
		}()
	}
	var errs bytes.Buffer
	script := exec.CommandContext(ctx, "bash", sayOnce, "127.0.0.1", fmt.Sprint(p.master), "ops", "shell")
	script.Stdin, script.Stderr = strings.NewReader("\n"+strings.Join(want, "\n")), &errs
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	mouth := p.join("lobby", client.JoinOptions{Nick: "library"})
	seqs, said := make([]uint64, lines), make(chan error, 1)
	go func() {
		receipts := make([]*client.Receipt, lines)
		for i, text := range want {
			l, err := mouth.Post(ctx, text)
			if err != nil {
				said <- err
				return
			}
			receipts[i] = l
		}
		for i, l := range receipts {
			var err error
			if seqs[i], err = l.Wait(ctx); err != nil {
				said <- fmt.Errorf("line %d: %w", i, err)
				return
			}
		}
		said <- nil
	}()
	const impostor = "who was it?"
	for k := range kills {
		for room, n := range heard {
			at := int64((k + 1) * lines / (kills + 1))
			eventually(t, fmt.Sprintf("%s has %d lines", room, at), func() bool { return n.Load() >= at })
		}
		p.kill(syscall.SIGKILL)
		p.start()
		for i, nick := range []string{"library", "shell"} {
			p.nc(p.first+i, strings.NewReader(fmt.Sprintf("/nick %s\n%s\n", nick, impostor)))
		}
	}
	if err := <-said; err != nil {
		t.Error("the library:", err)
	}
	if err := script.Wait(); err != nil {
		t.Error("the script:", err, errs.String())
	}
	t.Logf("%d lines each and %d kills in %v\n%s", lines, kills, time.Since(began).Round(time.Millisecond), errs.String())
	for _, room := range []string{"lobby", "ops"} {
		got := slices.DeleteFunc(p.texts(room), func(s string) bool { return s == impostor })
		sameLines(t, got, want)
	}
	if !slices.IsSorted(seqs) || slices.Contains(seqs, 0) {
		t.Error("the receipts have wrong numbers")
	}
}
