package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/netsvc/wire"
)

// nmap has nmap ask the ports of the server what they are, with the probes that it
// uses by itself, or with all of its own. It sends what it always sends, and waits
// for an answer only a moment: with its own five to eleven seconds all probes take
// three minutes.
func (p *process) nmap(all bool) {
	p.t.Helper()
	nmap, err := exec.LookPath("nmap")
	if err != nil {
		p.t.Skip("nmap is not installed")
	}
	probes, err := os.ReadFile(filepath.Join(filepath.Dir(nmap), "../share/nmap/nmap-service-probes"))
	if err != nil {
		p.t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^(totalwaitms|tcpwrappedms|match|softmatch) .*\n`).ReplaceAllString(string(probes), "")
	text = regexp.MustCompile(`(?m)^Probe TCP .*$`).ReplaceAllString(text, "$0\ntotalwaitms 100")
	file := filepath.Join(p.dir, "probes")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	args := []string{"-n", "-Pn", "--unprivileged", "-sV", "--versiondb", file, "-p", fmt.Sprintf("%d,%d", p.first, p.master), "127.0.0.1"}
	if all {
		args = append(args, "--version-all")
	}
	out, err := exec.CommandContext(p.t.Context(), nmap, args...).CombinedOutput()
	if err != nil || strings.Count(string(out), "/tcp open ") != 2 {
		p.t.Fatalf("%v: %s", err, out)
	}
}

// Who asks what listens on a room's port leaves no more in its history than what a
// person might type, and the ports are as they were; what it spoke is counted.
func TestPortScan(t *testing.T) {
	t.Parallel()
	metrics := int(nextPort.Take(1)) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", metrics))
	p.start()
	witness := p.visit(p.first)
	witness.until(t, "you are guest-1")
	said := func(marker string) (texts []string) {
		t.Helper()
		// The room and the master port work, and what came before is handled.
		if got := p.nc(p.master, strings.NewReader("HELP\nLIST\n")); !strings.Contains(got, fmt.Sprintf("\nlobby %d ", p.first)) {
			t.Errorf("the master port says %q", got)
		}
		eventually(t, "all of them have gone", func() bool { return p.metrics(metrics)["roomd_members"] == 1 })
		witness.SetDeadline(time.Now().Add(patience)) // nmap takes its time
		fmt.Fprintln(witness, marker)
		witness.until(t, "<guest-1> "+marker)
		out, errs, status := p.admin("read", "lobby", "-n", "1000", "--json")
		var lines []struct{ Type, Text string }
		if err := json.Unmarshal([]byte(out), &lines); err != nil || status != exitOK {
			t.Fatal(err, out, errs)
		}
		for _, l := range lines {
			if l.Type == "message" {
				texts = append(texts, l.Text)
			}
		}
		if len(texts) == 0 || texts[len(texts)-1] != marker {
			t.Fatalf("the last line is not %q: %q", marker, texts)
		}
		return texts[:len(texts)-1]
	}
	counted := func(kinds ...wire.Protocol) {
		t.Helper()
		eventually(t, "what has ended is counted by protocol", func() bool {
			all := p.metrics(metrics)
			left := all[`roomd_members_ended_total{cause="foreign"}`] + all[`roomd_sessions_ended_total{cause="foreign"}`]
			for _, kind := range wire.Protocols {
				n := all[fmt.Sprintf("roomd_foreign_connections_total{protocol=%q}", kind)]
				if left -= n; n == 0 && slices.Contains(kinds, kind) {
					return false
				}
			}
			return left == 0
		})
	}

	p.nmap(false)
	if got := said("after the usual probes"); len(got) > 1 || len(got) == 1 && got[0] != "HELP" {
		t.Errorf("in the history is %q", got)
	}
	counted(wire.HTTP, wire.RTSP, wire.SIP, wire.TLS, wire.SMB, wire.RDP, wire.Binary)

	p.nmap(true)
	foreign := regexp.MustCompile(`(?i)(HTTP|RTSP|SIP)/\d|^PROXY |^SSH-|^\*\d+$|^[a-z-]+: `)
	for _, text := range said("after all probes") {
		if foreign.MatchString(text) {
			t.Errorf("in the history is %q", text)
		}
	}
	counted(wire.HTTP, wire.RTSP, wire.SIP, wire.Redis, wire.TLS, wire.SMB, wire.RDP, wire.SOCKS, wire.Binary)
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
