package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// The same file, on loopback and where others can reach it: who may delete
// differs, and the log says why.
func TestDeleteDependsOnExposure(t *testing.T) {
	p := newProcess(t, "limits.connections = 500")
	p.start()
	made := p.nc(p.master, strings.NewReader("CREATE dev\nDELETE dev\nCREATE dev\n"))
	lines := strings.Split(made, "\n")
	if len(lines) != 4 || lines[1] != "OK dev" {
		t.Fatalf("on loopback: %q", made)
	}
	key := lines[2][strings.LastIndexByte(lines[2], ' ')+1:]
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.listenOn("0.0.0.0")
	p.start()
	if got := p.nc(p.master, strings.NewReader("DELETE dev\nDELETE dev 00\nDELETE dev "+key[1:]+"0\nLIST dev\n")); strings.Count(got, "ERR denied ") != 3 || !strings.Contains(got, "OK 2\n") {
		t.Errorf("without the key: %q", got)
	}
	if got := p.nc(p.master, strings.NewReader("DELETE dev "+key)); got != "OK dev\n" {
		t.Errorf("with the key: %q", got)
	}
	if got := p.nc(p.master, strings.NewReader("CREATE own\nDELETE own\n")); !strings.HasSuffix(got, "OK own\n") {
		t.Errorf("by the connection that made it: %q", got)
	}
	log, err := os.ReadFile(p.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`may_delete=anyone cause="access.delete is auto`,
		`may_delete=creator cause="access.delete is auto`,
		"limits.per_address",
	} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log does not say %s", want)
		}
	}
	if strings.Contains(string(log), key) {
		t.Error("the key is in the log")
	}
}

// listenOn puts server.listen into the configuration.
func (p *process) listenOn(addr string) {
	p.t.Helper()
	name := p.dir + "/config.toml"
	text, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, fmt.Appendf(nil, "server.listen = [%q]\n%s", addr, text), 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
