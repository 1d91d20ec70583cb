package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"roomd/cmd/roomd/bench"
)

// The load tool starts a roomd, works, checks, and leaves nothing behind; and
// it works on a roomd that runs already.
func TestBench(t *testing.T) {
	t.Setenv(asRoomd, "1") // of the process it starts
	dir := t.TempDir()
	small := map[string][]string{
		bench.Fanout:   {"--members=20", "--rooms=2", "--lines=500", "--warm-up=10ms", "--stopped=1"},
		bench.Latency:  {"--members=20", "--rate=500", "--lines=100", "--warm-up=10ms"},
		bench.Churn:    {"--cycles=100"},
		bench.Comeback: {"--members=50"},
		bench.History:  {"--keep=1000", "--turns=3"},
	}
	if runtime.GOOS == "linux" {
		small[bench.Idle] = []string{"--rooms=2", "--members=20", "--settle=100ms", "--duration=100ms"}
	}
	for kind, flags := range small {
		var out, errw bytes.Buffer
		args := append([]string{"bench", kind, "--json", "--cores=false", "--dir", dir}, flags...)
		if status := run(args, nil, &out, &errw); status != exitOK {
			t.Fatalf("%s: status %d: %s", kind, status, errw.String())
		}
		var r bench.Result
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Fault != "" || r.Shape.Kind != kind || runtime.GOOS == "linux" && kind != bench.Idle && r.CPU == 0 {
			t.Errorf("%s: %+v", kind, r)
		}
		switch kind {
		case bench.Fanout:
			if r.Lines < 500 || r.Deliveries < 500*19 || r.P99 < r.P50 || r.P50 == 0 {
				t.Errorf("%s: %+v", kind, r)
			}
		case bench.History:
			if len(r.Turns) != 3 || r.Turns[2].Disk == 0 || r.Turns[2].Commits == 0 {
				t.Errorf("%s: %+v", kind, r)
			}
		case bench.Churn:
			if r.Cycles != 100 {
				t.Errorf("%s: %+v", kind, r)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}

	p := newProcess(t, "limits.lines_per_second = 1e9\nlimits.burst = 100000")
	p.start()
	var out, errw bytes.Buffer
	at := fmt.Sprintf("127.0.0.1:%d", p.master)
	if status := run([]string{"bench", "fanout", "--server", at, "--members=20", "--lines=500", "--warm-up=10ms"}, nil, &out, &errw); status != exitOK {
		t.Fatalf("status %d: %s", status, errw.String())
	}
	if !strings.Contains(out.String(), "none lost, doubled or out of order") {
		t.Error(out.String())
	}
	if got := p.nc(p.master, strings.NewReader("LIST bench*\n")); got != "OK 0\n" {
		t.Errorf("it left rooms: %s", got)
	}
}

// The load tool does the same to IRC servers of others: all members of a channel get
// every line, and the one who says it gets none.
func TestBenchIRC(t *testing.T) {
	t.Setenv(asRoomd, "1") // of the process it starts
	for _, server := range []string{"irc", "inspircd", "ngircd"} {
		t.Run(server, func(t *testing.T) {
			if _, err := exec.LookPath(server); server != "irc" && err != nil {
				if _, err = exec.LookPath("/usr/sbin/" + server); err != nil {
					t.Skip(server, "is not installed")
				}
			}
			dir := t.TempDir()
			for kind, flags := range map[string][]string{
				bench.Fanout: {"--members=20", "--rooms=2", "--publishers=2", "--lines=500", "--warm-up=10ms", "--stopped=1"},
				bench.Idle:   {"--members=20", "--rooms=2", "--settle=100ms", "--duration=100ms"},
			} {
				if kind == bench.Idle && runtime.GOOS != "linux" {
					continue
				}
				var out, errw bytes.Buffer
				args := append([]string{"bench", kind, "--protocol", server, "--json", "--cores=false", "--dir", dir}, flags...)
				if status := run(args, nil, &out, &errw); status != exitOK {
					t.Fatalf("%s: status %d: %s", kind, status, errw.String())
				}
				var r bench.Result
				if err := json.Unmarshal(out.Bytes(), &r); err != nil {
					t.Fatal(err)
				}
				if r.Fault != "" || kind == bench.Fanout && (r.Lines < 500 || r.Deliveries < 500*19) {
					t.Errorf("%s: %+v", kind, r)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}
