package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/admin"
)

// As process 1, as in a container, the server waits for processes that others leave behind, also
// before and after an upgrade that fails, and stops at SIGTERM; health tells how it is.
func TestProcessOne(t *testing.T) {
	if _, err := exec.LookPath("nsenter"); err != nil {
		t.Skip("nsenter (util-linux) is not installed")
	}
	if os.Getuid() != 0 {
		t.Skip("only root may make a pid namespace")
	}
	p := newProcess(t, "")
	config := filepath.Join(p.dir, "config.toml")
	health := func(args ...string) (string, int) {
		var out bytes.Buffer
		status := run(append([]string{"health", "--config", config}, args...), nil, &out, io.Discard)
		return strings.TrimSpace(out.String()), status
	}
	if out, status := health(); status != exitUnreachable {
		t.Errorf("without a server: %q, %d", out, status)
	}
	p.attr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	p.start()
	if out, status := health(); out != "ready" || status != exitOK {
		t.Errorf("%q, %d", out, status)
	}
	if out, status := health("--live"); out != "live" || status != exitOK {
		t.Errorf("%q, %d", out, status)
	}
	pid := p.cmd.Process.Pid
	orphan := func() {
		t.Helper()
		// A process whose parent has gone belongs to process 1 of its namespace.
		if out, err := exec.Command("nsenter", "--target", fmt.Sprint(pid), "--pid", "sh", "-c", "sleep 0.01 &").CombinedOutput(); err != nil {
			t.Skipf("%v: %s", err, out)
		}
		eventually(t, "the orphan is waited for", func() bool {
			children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
			return err == nil && len(bytes.TrimSpace(children)) == 0
		})
	}
	orphan()
	other, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	if status := run([]string{"admin", "--config", config, "upgrade", other}, nil, io.Discard, io.Discard); status != exitFailed {
		t.Errorf("an upgrade to another program: %d", status)
	}
	orphan()
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error("SIGTERM:", err)
	}
}

// Without a console the metrics are asked, and no proxy of the environment.
func TestHealthByMetrics(t *testing.T) {
	p := newProcess(t, "admin.socket = \"\"")
	config := filepath.Join(p.dir, "config.toml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "metrics.listen = \"127.0.0.1:%d\"\n", p.first+30)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	// The library of Go uses no proxy for 127.0.0.1, but for an address that stands for all.
	anywhere := filepath.Join(p.dir, "anywhere.toml")
	if err := os.WriteFile(anywhere, bytes.ReplaceAll(text, []byte("\"127.0.0.1:"), []byte("\"0.0.0.0:")), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "health", "--config", anywhere)
	cmd.Env = append(os.Environ(), "HTTP_PROXY=http://127.0.0.1:1", asRoomd+"=1")
	if out, err := cmd.Output(); err != nil || string(out) != "ready\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// A probe does not wait for a server that hangs.
func TestHealthOfStoppedProcess(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer p.cmd.Process.Signal(syscall.SIGCONT)
	began := time.Now()
	var errs bytes.Buffer
	status := run([]string{"health", "--config", filepath.Join(p.dir, "config.toml")}, nil, io.Discard, &errs)
	if took := time.Since(began); status != exitUnreachable || took > 3*admin.HealthTimeout {
		t.Errorf("%d after %v: %s", status, took, errs.String())
	}
}
