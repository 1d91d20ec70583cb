package admin_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"roomd/admin"
)

// A password comes from standard input, and is nowhere in clear. Members stay.
func TestPasswordOfARoom(t *testing.T) {
	s := startShell(t)
	s.ok("create den")
	ann := s.join("den")
	set := func(in string, line ...string) (out string, status int) {
		t.Helper()
		var o, e bytes.Buffer
		status = admin.Once(s.socket, line, strings.NewReader(in), &o, &e, nil)
		return o.String() + e.String(), status
	}
	expect := func(wantStatus int, want, in, line string) {
		t.Helper()
		if out, status := set(in, strings.Fields(line)...); status != wantStatus || !strings.Contains(out, want) {
			t.Errorf("%s: status %d: %s", line, status, out)
		}
	}
	expect(admin.ExitDone, "den gets a password", "", "set den password --dry-run")
	expect(admin.ExitRefused, "no password was given", "", "set den password")
	expect(admin.ExitRefused, "no password was given", "\n", "set den password")
	expect(admin.ExitRefused, "word", "two words\n", "set den password")
	expect(admin.ExitUsage, "must not be in the command", "", "set den passw hunter2")
	expect(admin.ExitUsage, "--remove is only for", "", "set den lines --remove")
	expect(admin.ExitRefused, "has no password", "", "set den password --remove")
	if got := s.newcomer("den"); !strings.HasPrefix(got, "* den: ") {
		t.Error("it has a password by now:", got)
	}
	expect(admin.ExitDone, "password  on", "s3cret\n", "set DEN pass")
	expect(admin.ExitDone, "gets another", "", "set den password --dry-run")
	expect(admin.ExitDone, "\"value\":\"on\"", "", "set den --json")
	if got := s.newcomer("den"); got != "* this room has a password: /pass PASSWORD" {
		t.Error("a newcomer reads", got)
	}
	s.ok("say den still here")
	until(t, ann, "still here")
	expect(admin.ExitDone, "password  off", "", "set den password --remove")
	if got := s.newcomer("den"); !strings.HasPrefix(got, "* den: ") {
		t.Error("it is not gone:", got)
	}
	audit := s.ok("audit")
	for _, want := range []string{"set DEN pass", "the password was changed", "set den password --remove", "the password was removed", "set den password …"} {
		if !strings.Contains(audit, want) {
			t.Errorf("the audit lacks %q:\n%s", want, audit)
		}
	}
	for _, secret := range []string{"hunter2", "s3cret", "--secret", "two words", "aHVudGVyMg", "czNjcmV0"} {
		if strings.Contains(audit, secret) {
			t.Errorf("the audit has %q:\n%s", secret, audit)
		}
	}
}

// newcomer is the first line that a connection to a room reads.
func (s *shell) newcomer(room string) string {
	s.T.Helper()
	r, err := s.Service.Room(room)
	if err != nil {
		s.T.Fatal(err)
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port))
	if err != nil {
		s.T.Fatal(err)
	}
	defer c.Close()
	line := make([]byte, 4096)
	n, err := c.Read(line)
	if err != nil {
		s.T.Fatal(err)
	}
	first, _, _ := strings.Cut(string(line[:n]), "\n")
	return first
}

// At a terminal a password is asked for twice, and not shown, completed or kept,
// neither in the console nor for a command of a shell.
func TestPasswordAtATerminal(t *testing.T) {
	s := startShell(t)
	s.ok("create den")
	history := filepath.Join(t.TempDir(), "history")
	console := openConsole(t, s.socket, history)
	console.expect("roomd> ")
	console.typeIn("set den password\r")
	console.expect("the new password of den: ")
	console.typeIn("hunter2\t\r")
	console.expect("repeat it: ")
	console.typeIn("other\r")
	console.expect("the two passwords differ")
	console.typeIn("set den password\r")
	console.expect("the new password of den: ")
	console.typeIn("\x03")
	console.expect("no password was given")
	console.typeIn("set den password hunter2\r")
	console.expect("must not be in the command")
	console.typeIn("set den password\r")
	console.expect("the new password of den: ")
	console.typeIn("hunter3\r")
	console.expect("repeat it: ")
	console.typeIn("hunter3\r")
	console.expect("needed to join")
	console.typeIn("quit\r")
	console.leave()
	if strings.Contains(console.all(), "hunter3") {
		t.Errorf("the terminal has shown it: %q", console.all())
	}
	kept, err := os.ReadFile(history)
	if err != nil || !strings.Contains(string(kept), "set den password") || strings.Contains(string(kept), "hunter") {
		t.Errorf("the history is %q, %v", kept, err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asOnce+"="+s.socket+" set den password", "TERM=xterm")
	once := openTerminal(t, cmd)
	once.expect("the new password of den: ")
	once.typeIn("hunter4\n")
	once.expect("repeat it: ")
	once.typeIn("hunter4\n")
	once.expect("needed to join")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if strings.Contains(once.all(), "hunter") || termios(t, once.tty) != once.before {
		t.Errorf("the terminal has shown it, or is not as it was: %q", once.all())
	}
	r, err := s.Service.Room("den")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, "/pass hunter4")
	got := make([]byte, 4096)
	for all := ""; !strings.Contains(all, "you are guest-1"); {
		n, err := c.Read(got)
		if err != nil {
			t.Fatal(err, all)
		}
		all += string(got[:n])
	}
}

// all is what the terminal has shown.
func (s *screen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}
