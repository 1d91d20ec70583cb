package admin_test

import (
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"testing"

	"roomd/admin"
)

// asStranger makes the test binary give a command, as another user.
const asStranger = "ROOMD_TEST_STRANGER"

func init() {
	if socket := os.Getenv(asStranger); socket != "" {
		os.Exit(admin.Once(socket, []string{"version"}, nil, os.Stdout, os.Stderr, nil))
	}
}

// openFolder is a folder with this binary that others can open: the folder of a
// test is closed to them.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "roomd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/self", self, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asUser gives a command to the socket of a folder, as somebody else.
func asUser(dir string, uid, gid uint32, groups ...uint32) (out string, status int) {
	cmd := exec.Command(dir + "/self")
	cmd.Dir = dir
	cmd.Env = []string{asStranger + "=" + dir + "/sock"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	text, _ := cmd.CombinedOutput() // the status says it
	return string(text), cmd.ProcessState.ExitCode()
}

// Another user is refused, also where the socket's permissions would let it in.
func TestStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	s := startShell(t)
	dir := openFolder(t)
	l, err := s.srv.Listen(dir+"/sock", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, status := asUser(dir, 65534, 65534)
	if status != admin.ExitRefused || !strings.Contains(out, "is not root, not the user of the server and not in admin.group") {
		t.Fatalf("%d: %s", status, out)
	}
}

// Who is in admin.group may, whatever its user.
func TestGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	g, err := user.LookupGroupId("65534")
	if err != nil {
		t.Skip("there is no such group here:", err)
	}
	s := startShell(t)
	s.ok("create lobby")
	s.srv.Group = g.Name
	dir := openFolder(t)
	l, err := s.srv.Listen(dir+"/sock", 0o660)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if st, err := os.Stat(dir + "/sock"); err != nil || st.Sys().(*syscall.Stat_t).Gid != 65534 {
		t.Error(st, err)
	}
	for gid, want := range map[uint32]int{65534: admin.ExitDone, 65533: admin.ExitUnreachable} { // the other one cannot even open it
		if out, status := asUser(dir, 65533, gid); status != want {
			t.Errorf("group %d: %d %s", gid, status, out)
		}
	}
	// One of many, which no file has: the kernel says it.
	many := make([]uint32, 100)
	for i := range many {
		many[i] = uint32(70000 + i)
	}
	if out, status := asUser(dir, 65533, 65533, append(many, 65534)...); status != admin.ExitDone {
		t.Errorf("a further group: %d %s", status, out)
	}
}

// Through plain nc an answer is readable, and its lines cannot be mistaken.
func TestNetcat(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.speak("lobby", "/topic OK", "OK", "ERR denied", "/me ASK")
	cmd := exec.Command("nc", "-NU", s.socket)
	cmd.Stdin = strings.NewReader("\ufeffrooms\nread lobby\n\nrooms nowhere\nsing\ndelete lobby\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []string
	for l := range strings.Lines(string(out)) {
		if l[0] != ' ' {
			word, _, _ := strings.Cut(strings.TrimSpace(l), " ")
			verdicts = append(verdicts, word)
		}
	}
	if got := strings.Join(verdicts, " "); got != "OK OK OK ERR ASK" || !strings.Contains(string(out), " NAME   PORT") || !strings.Contains(string(out), "<guest-1> ERR denied\n") {
		t.Errorf("%s\n%s", got, out)
	}
}
