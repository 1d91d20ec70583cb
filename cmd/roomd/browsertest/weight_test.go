package browsertest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"
)

var reload = chromedp.Reload()

// The page weighs less than 60 KB in all, all of it from its own server, and can be used soon.
func TestWeight(t *testing.T) {
	t.Parallel()
	const most = 60 << 10
	s := shared(t)
	port := s.create("weight", "")
	s.fill(port, 200)
	p := s.visit(t, "/r/weight")
	p.sees("line-00200")
	files := make(map[string]bool)
	p.mu.Lock()
	for _, r := range p.requests {
		if strings.HasPrefix(r, "http") {
			files[r] = true
		}
	}
	p.mu.Unlock()
	if m := eval[string](p, `document.querySelector("link[rel=manifest]").href`); m != "" {
		files[m] = true // which this browser does not ask for
	}
	all := 0
	for f := range files {
		r, err := http.NewRequest("GET", f, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip") // as a browser does; it stays compressed then
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", f, resp.Status, err)
		}
		t.Logf("%6d bytes, %4s: %s", len(body), resp.Header.Get("Content-Encoding"), f)
		all += len(body)
	}
	t.Logf("%d bytes in %d files", all, len(files))
	if all >= most {
		t.Errorf("the page weighs %d bytes", all)
	}
	// From the start of the loading to lines on the screen and a box to write in.
	var took []time.Duration
	for range 3 {
		began := time.Now()
		p.do(reload)
		p.until(`document.querySelector("#log")?.innerText.includes("line-00200")`)
		took = append(took, time.Since(began).Round(time.Millisecond))
	}
	t.Logf("usable after %v; by the browser's clock: DOM after %.0f ms", took, eval[float64](p, `performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd`))
	for _, d := range took {
		if d > patience/4 {
			t.Errorf("usable after %v", d)
		}
	}
}

// rss is the resident memory of the process that serves.
func (s *server) rss() int {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		s.t.Skip("needs proc(5):", err)
	}
	kb, _ := strconv.Atoi(regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindStringSubmatch(string(text))[1])
	return kb << 10
}

// An idle page, with its list of rooms and in a room with its members, costs the server less than
// 40 KB.
func TestIdlePagesAreCheap(t *testing.T) {
	t.Parallel()
	const pages, rooms, most = 1000, 20, 40 << 10
	s := serve(t, "server.create = [\"lobby\"]\nlimits.per_address = 0\nlimits.connections = 5000")
	for i := range rooms {
		s.create(fmt.Sprint("idle-", i), "")
	}
	ctx, end := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() {
		end()
		all.Wait()
	})
	open := func(from, to int) {
		for i := from; i < to; i++ {
			c, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://localhost:%d/ws", s.port), &websocket.DialOptions{Subprotocols: []string{"roomd.v1"}})
			if err != nil {
				t.Fatal(i, err)
			}
			c.SetReadLimit(-1)
			for _, text := range []string{fmt.Sprintf("\nRESUME page-%d\nWATCH\n", i), fmt.Sprintf("idle-%d\n/who\n/history 100\n", i%rooms)} {
				if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
					t.Fatal(i, err)
				}
			}
			for got := ""; !strings.Contains(got, `"command":"history"`); {
				_, text, err := c.Read(ctx)
				if err != nil {
					t.Fatal(i, err)
				}
				got = string(text)
			}
			all.Go(func() {
				defer c.CloseNow()
				for err := error(nil); err == nil; {
					_, _, err = c.Read(ctx)
				}
			})
		}
	}
	open(0, 2*rooms) // what the first ones need is not theirs alone
	before := s.rss()
	open(2*rooms, 2*rooms+pages)
	// What opening them took goes back to the system soon.
	await(t, func() string {
		after := s.rss()
		each := (after - before) / pages
		if each >= most {
			return fmt.Sprintf("an idle page costs %d bytes", each)
		}
		t.Logf("%d idle pages: %.1f MB, then %.1f MB: %d bytes a page", pages, float64(before)/1e6, float64(after)/1e6, each)
		return ""
	})
}

// Two hundred lines a second in view are drawn together, and leave the page time for its reader.
func TestBusyRoom(t *testing.T) {
	t.Parallel()
	const rate, lines, mostRows = 200, 1000, 1500
	s := shared(t)
	port := s.create("busy", "")
	p, nc := s.join(t, "busy", "alf"), s.enter(port, "nc")
	metrics := func() map[string]float64 {
		all := make(map[string]float64)
		for _, m := range call(p, performance.GetMetrics, cdp.Empty{}).Metrics {
			all[m.Name] = m.Value
		}
		return all
	}
	call(p, performance.Enable, performance.EnableParams{})
	eval[bool](p, `(() => { globalThis.long = []; new PerformanceObserver(l => long.push(...l.getEntries().map(e => e.duration))).observe({entryTypes: ["longtask"]}); return true })()`)
	before := metrics()
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for i := range lines {
		<-tick.C
		fmt.Fprintf(nc, "busy-%04d is a line of a usual length, with some words in it\n", i)
		if i == lines/2 {
			p.say("in-between-1") // the page answers meanwhile
		}
	}
	p.sees(fmt.Sprintf("busy-%04d", lines-1))
	nc.until("in-between-1")
	after := metrics()
	n, _, _ := p.rows()
	t.Logf("%d lines: %.0f layouts, %.0f times styles, %.2f s of scripts, %.2f s of all tasks; long tasks (ms): %v; %d lines in the page",
		lines, after["LayoutCount"]-before["LayoutCount"], after["RecalcStyleCount"]-before["RecalcStyleCount"], after["ScriptDuration"]-before["ScriptDuration"], after["TaskDuration"]-before["TaskDuration"],
		eval[[]float64](p, "long"), n)
	if n > mostRows {
		t.Errorf("%d lines are in the page", n)
	}
	// Lines that come together are laid out together: once in a frame, and never once for each.
	if layouts := after["LayoutCount"] - before["LayoutCount"]; layouts > 1.2*lines {
		t.Errorf("%.0f layouts for %d lines", layouts, lines)
	}
	if got := p.found(`busy-\d+`); len(got) < 50 || got[len(got)-1] != fmt.Sprintf("busy-%04d", lines-1) {
		t.Errorf("%d lines are there, at last %q", len(got), got[max(0, len(got)-1):])
	}
	if !p.inView(lines + 1) {
		t.Error("the newest line is not in view")
	}
}
