package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/netsvc/wire"
)

// A scanner that asks each port what it is leaves nothing in the histories but the
// word that a person might say as well, and the server counts what it refused.
func TestScanner(t *testing.T) {
	t.Parallel() // it waits nearly all of its 20 seconds
	if _, err := exec.LookPath("nmap"); err != nil {
		t.Skip("nmap is not installed")
	}
	port := int(nextPort.Add(1)) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", port))
	p.start()
	p.nc(p.master, strings.NewReader("CREATE den secret\n"))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nmap", "-n", "-Pn", "-sT", "-sV", "-p", fmt.Sprintf("%d-%d", p.master, p.first+1), "127.0.0.1").CombinedOutput()
	if err != nil || strings.Count(string(out), "/tcp open") != 3 {
		t.Errorf("%v %s", err, out)
	}
	if said := p.texts("lobby"); strings.Join(said, "|") != "HELP" {
		t.Errorf("said in the lobby: %q", said)
	}
	refused := p.metrics(port)
	for _, kind := range []wire.Protocol{wire.HTTP, wire.RTSP, wire.SIP, wire.SMB, wire.RDP, wire.TLS, wire.Binary} {
		if n := refused[fmt.Sprintf("roomd_foreign_connections_total{protocol=%q}", kind)]; n < 1 {
			t.Errorf("%s is counted %v times", kind, n)
		}
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if den := p.ok("store", "export", "den"); strings.Contains(den, `"text":`) {
		t.Errorf("said in the room with a password: %s", den)
	}
}
