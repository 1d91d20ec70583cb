package metrics

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"roomd/cmd/roomd/roomdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whether a server is ready, as those see it who send traffic to it.
func TestReadiness(t *testing.T) {
	c := New("1.0", "abc", "go")
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Serve(ln, slog.New(slog.DiscardHandler))()
	url := "http://" + ln.Addr().String()
	if text, status := roomdtest.Get(t, url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "starting or stopping") {
		t.Error(status, text)
	}
	for _, path := range []string{"/healthz", "/metrics"} {
		if _, status := roomdtest.Get(t, url+path); status != http.StatusOK {
			t.Error(path, status)
		}
	}
	// Profiles are there only if metrics.profiles asks for them.
	for _, on := range []bool{false, true} {
		c.Profiles.Store(on)
		if _, status := roomdtest.Get(t, url+"/debug/pprof/heap"); (status == http.StatusOK) != on {
			t.Errorf("profiles %v: %d", on, status)
		}
	}
}

// A fault in what is collected is the answer to the scrape, and not the end of the
// server.
func TestMetricsFault(t *testing.T) {
	c := New("1.0", "abc", "go")
	if err := c.Watch(Sources{}); err != nil { // with no server: collecting panics
		t.Fatal(err)
	}
	if _, err := c.registry.Gather(); err == nil || !strings.Contains(err.Error(), "a fault in roomd") {
		t.Error(err)
	}
}
