package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// roomd admin web prints its link and nothing else on standard output, serves the page there, and
// ends with a signal.
func TestAdminWeb(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM} {
		cmd := p.roomd("admin", "web", "--read-only")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(out)
		link, err := in.ReadString('\n')
		if err != nil || !regexp.MustCompile(`^http://127\.0\.0\.1:\d+/#[A-Z2-7]{50,}\n$`).MatchString(link) {
			t.Fatalf("%q %v", link, err)
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get(strings.TrimSpace(link))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		}
		cmd.Process.Signal(sig)
		if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
			t.Errorf("%q %v", rest, err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
	}
	used, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	for line, want := range map[string]int{
		"admin web --socket " + filepath.Join(p.dir, "none.sock"): exitUnreachable,
		"admin web x":                       exitUsage,
		"admin web --socket x --port 70000": exitUsage,
		"admin web --nothing":               exitUsage,
		"admin web --socket=":               exitUsage,
		"admin --nothing web":               exitUsage,
		"admin web --config /none":          exitUnreachable,
		"admin --config /none rooms":        exitUnreachable,
		fmt.Sprintf("admin web --socket %s --port %d", filepath.Join(p.dir, "roomd.sock"), used.Addr().(*net.TCPAddr).Port): exitFailed,
	} {
		var out, errs strings.Builder
		if status := run(strings.Fields(line), strings.NewReader(""), &out, &errs); status != want || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("%s: status %d, %q, %q", line, status, out.String(), errs.String())
		}
	}
}

// A user that may not use the admin socket gets no page, but the reason.
func TestAdminWebDenied(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	dir := foreignFolder(t)
	for mode, want := range map[string]int{"0600": exitUnreachable, "0666": exitFailed} {
		socket := filepath.Join(dir, mode+".sock")
		p := newProcess(t, fmt.Sprintf("admin.socket = %q\nadmin.mode = %q", socket, mode))
		p.start()
		cmd := exec.Command(filepath.Join(dir, "roomd"), "admin", "web", "--socket", socket)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), asRoomd+"=1", "HOME="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65533, Gid: 65533}}
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if len(out) > 0 || cmd.ProcessState.ExitCode() != want || !strings.Contains(errs.String(), "admin.group") {
			t.Errorf("%s: %v, %q, %s", mode, err, out, errs.String())
		}
	}
}
