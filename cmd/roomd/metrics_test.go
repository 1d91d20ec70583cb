package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"roomd/cmd/roomd/roomdtest"
)

// wellFormed are the metrics of a server, which are in good form.
func wellFormed(t *testing.T, url string) string {
	t.Helper()
	text, status := roomdtest.Get(t, url+"/metrics")
	if status != http.StatusOK {
		t.Fatal(status, text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if strings.HasPrefix(problem.Metric, "roomd_") {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
	return text
}

// The metrics are there, in good form, and those of the dashboard exist.
func TestMetrics(t *testing.T) {
	port := nextPort.Take(1) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", port))
	p.start()
	p.nc(p.first, strings.NewReader("one\ntwo\n"))
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	text := wellFormed(t, url)
	for _, want := range []string{
		`roomd_rooms{state="open"} 1`, `roomd_rooms{state="unbound"} 0`, `roomd_rooms{state="opening"} 0`, `roomd_rooms{state="closing"} 0`, "roomd_lines_total 2", "roomd_deliveries_total 2",
		`roomd_members_ended_total{cause="left"} 1`, `roomd_members_ended_total{cause="kicked"} 0`, "roomd_commit_lines_sum 2",
		"roomd_connections_accepted_total 1", "roomd_store_read_only 0", "roomd_members 0",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(text, "roomd_room_") {
		t.Error("rooms have metrics of their own unasked")
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if text, status := roomdtest.Get(t, url+path); status != http.StatusOK {
			t.Error(path, status, text)
		}
	}
	dashboard, err := os.ReadFile(filepath.Join("..", "..", "docs", "grafana.json"))
	if err != nil || !json.Valid(dashboard) {
		t.Fatal("the dashboard is not JSON", err)
	}
	used := regexp.MustCompile(`roomd_[a-z_]+`).FindAllString(string(dashboard), -1)
	if len(used) < 10 {
		t.Error("the dashboard uses", used)
	}
	for _, name := range used {
		if !strings.Contains(text, "\n"+name+" ") && !strings.Contains(text, "\n"+name+"{") {
			t.Errorf("the dashboard uses %s, which does not exist", name)
		}
	}
}

// Rooms have metrics of their own if they are asked for. A server that binds its
// rooms, or stops, answers and is not ready.
func TestMetricsPerRoom(t *testing.T) {
	port := nextPort.Take(1) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"\nmetrics.per_room = true", port))
	p.start()
	p.nc(p.first, strings.NewReader("one\ntwo\n"))
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	text := wellFormed(t, url)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (roomd_[a-z_]+) `).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile("`" + m[1] + "[`{]").Match(page) {
			t.Errorf("%s is not in docs/metrics.md", m[1])
		}
	}
	for _, want := range []string{
		`roomd_room_members{room="lobby"} 0`, `roomd_room_members_lagging{room="lobby"} 0`, `roomd_room_history_lines{room="lobby"} 2`,
		`roomd_room_history_bytes{room="lobby"} `, `roomd_room_newest_seq{room="lobby"} `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
}
