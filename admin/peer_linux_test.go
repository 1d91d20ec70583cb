package admin_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"roomd/admin"
)

// asStranger makes the test binary give a command, as another user.
const asStranger = "ROOMD_TEST_STRANGER"

func init() {
	if socket := os.Getenv(asStranger); socket != "" {
		os.Exit(admin.Once(socket, []string{"version"}, os.Stdout, os.Stderr, nil))
	}
}

// Another user is refused, also where the socket's permissions would let it in.
func TestStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	s := startShell(t)
	// The folder of a test is closed to others, this one is not.
	dir, err := os.MkdirTemp("/tmp", "roomd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
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
	l, err := s.srv.Listen(dir+"/sock", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(dir + "/self")
	cmd.Dir = dir
	cmd.Env = []string{asStranger + "=" + dir + "/sock"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != admin.ExitRefused ||
		!strings.Contains(string(out), "is neither root, nor the server's user, nor in admin.group") {
		t.Fatalf("%v: %s", err, out)
	}
}
