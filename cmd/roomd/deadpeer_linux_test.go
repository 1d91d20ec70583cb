package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
)

// hosts makes two network namespaces with a cable between them, and returns how
// to run a command on either and how to pull the cable.
func hosts(t *testing.T) (here, there []string, pull func()) {
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and ip (iproute2)")
	}
	if _, err := exec.LookPath("nc"); err != nil {
		t.Skip("nc (netcat-openbsd) is not installed")
	}
	id := os.Getpid() % 100000
	a, b := fmt.Sprintf("roomd-a%d", id), fmt.Sprintf("roomd-b%d", id)
	va, vb := fmt.Sprintf("ra%d", id), fmt.Sprintf("rb%d", id)
	ip := func(args string) error {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %v: %s", args, err, out)
		}
		return nil
	}
	t.Cleanup(func() {
		for _, ns := range []string{a, b} {
			if err := ip("netns del " + ns); err != nil {
				t.Log(err)
			}
		}
	})
	for _, args := range []string{
		"netns add " + a, "netns add " + b,
		"link add " + va + " type veth peer name " + vb,
		"link set " + va + " netns " + a, "link set " + vb + " netns " + b,
		"-n " + a + " addr add 10.77.0.1/24 dev " + va, "-n " + b + " addr add 10.77.0.2/24 dev " + vb,
		"-n " + a + " link set lo up", "-n " + a + " link set " + va + " up", "-n " + b + " link set " + vb + " up",
	} {
		if err := ip(args); err != nil {
			t.Skip("no network namespaces here: ", err)
		}
	}
	return []string{"ip", "netns", "exec", a}, []string{"ip", "netns", "exec", b}, func() {
		if err := ip("-n " + b + " link set " + vb + " down"); err != nil {
			t.Error(err)
		}
	}
}

// A pulled cable ends an idle member and one that is being written to within
// dead_peer; a peer that is there and does not read stays.
func TestPulledCable(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	here, there, pull := hosts(t)
	const deadPeer = 6 * time.Second
	p := newProcess(t, fmt.Sprintf("server.listen = [\"10.77.0.1\"]\nserver.create = [\"idle\", \"busy\"]\nlimits.dead_peer = %q", deadPeer))
	p.prefix = here
	p.start()
	client := func(on []string, room int) (*exec.Cmd, io.Writer, *bufio.Reader) {
		args := append(append([]string(nil), on...), "nc", "10.77.0.1", fmt.Sprint(p.first+room))
		cmd := exec.Command(args[0], args[1:]...)
		in, out := roomdtest.Begin(t, cmd)
		t.Cleanup(func() {
			in.Close()
			cmd.Process.Kill()
			cmd.Wait()
		})
		r := bufio.NewReader(out)
		if l, err := r.ReadString('\n'); err != nil || !strings.Contains(l, "you are") {
			t.Fatal(l, err)
		}
		return cmd, in, r
	}
	client(there, 0)
	client(there, 1) // guest-1
	stopped, _, _ := client(here, 1)
	_, say, hear := client(here, 1)
	if err := stopped.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 1000)
	speak := func(lines int) {
		for range lines {
			if _, err := fmt.Fprintln(say, text); err != nil {
				t.Fatal(err)
			}
			for {
				l, err := hear.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(l, "<guest-3>") {
					break
				}
			}
		}
	}
	speak(2000) // more than the stopped one's sockets hold
	pull()
	pulled := time.Now()
	log := filepath.Join(p.dir, "log")
	for gone := 0; gone < 2; {
		speak(20)
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		gone = strings.Count(string(text), "member disconnected")
		if time.Since(pulled) > 2*deadPeer {
			t.Fatalf("%d of 2 are gone after %v", gone, time.Since(pulled))
		}
	}
	t.Logf("both gone after %v", time.Since(pulled))
	// The stopped one is silent for longer than that, and lives.
	for time.Since(pulled) < deadPeer+deadPeer/2 {
		speak(20)
	}
	fmt.Fprintln(say, "/who")
	for l := ""; !strings.HasPrefix(l, "* 2 here"); {
		var err error
		if l, err = hear.ReadString('\n'); err != nil || strings.HasPrefix(l, "* 1 here") {
			t.Fatal(l, err)
		}
	}
}
