package admin_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/admin"
	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = netsvctest.Patience

var nextPort = netsvctest.NewPorts(14000, 16400)

var eventually = netsvctest.Eventually

// shell is a server with its admin socket.
type shell struct {
	*netsvctest.Server
	dir    string
	socket string
	srv    *admin.Server
	ln     *admin.Listener
	halted chan bool // the operator said stop
}

func startShell(t testing.TB) *shell {
	s := &shell{Server: netsvctest.New(t, netsvctest.Options(int(nextPort.Take(20))-20, 20))}
	s.dir = filepath.Dir(s.Path)
	s.socket = filepath.Join(s.dir, "roomd.sock")
	s.Options.MaxRooms, s.Options.MaxConnections, s.Options.MasterIdle, s.StoreOptions.Lines = 10, 1000, 0, 0
	s.Stopped = func() {
		if err := s.ln.Close(); err != nil {
			s.T.Error(err)
		}
	}
	s.Start()
	return s
}

// Start starts both.
func (s *shell) Start() {
	s.T.Helper()
	tap := admin.NewTap(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}), slog.LevelInfo)
	s.Options.Log = slog.New(tap)
	s.Server.Start()
	s.halted = make(chan bool, 1)
	s.srv = &admin.Server{Service: s.Service, Store: s.Store, Log: tap, Version: "test", Database: s.Path,
		Stop:       func() { s.halted <- true; go s.srv.Stopped(nil) },
		Program:    func(binary string, _ bool) (string, string, error) { return "/bin/" + binary, "1234", nil },
		Reload:     func(bool) ([]admin.Change, error) { return nil, nil },
		Upgrade:    func(context.Context, string, bool) (admin.Upgrade, error) { return admin.Upgrade{PID: 1}, nil },
		LogDropped: func() (uint64, time.Duration) { return 0, 0 }, Certificate: func() *admin.Certificate { return nil }, Files: func() []string { return nil },
		Addresses: func() (string, string) { return "", "" }, NotReady: func() error { return nil },
		Config: func() []admin.Setting {
			return []admin.Setting{{Key: "limits.members", Value: "256", Default: "1", Changed: true}}
		}}
	if err := s.srv.LoadPlans(); err != nil {
		s.T.Fatal(err)
	}
	s.srv.ResumePlans(false)
	var err error
	if s.ln, err = s.srv.Listen(s.socket, 0o600); err != nil {
		s.T.Fatal(err)
	}
}

// do gives a command as a shell does.
func (s *shell) do(line ...string) (out string, errs string, status int) {
	var o, e bytes.Buffer
	status = admin.Once(s.socket, line, nil, &o, &e, nil)
	return o.String(), e.String(), status
}

// verdict is the last line of the answer to a line: OK, ERR or ASK, and the code of ERR.
func (s *shell) verdict(line string) string {
	s.T.Helper()
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		s.T.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintln(c, line)
	for in := bufio.NewScanner(c); in.Scan(); {
		if words := strings.Fields(in.Text()); !strings.HasPrefix(in.Text(), " ") && words[0] == "ERR" {
			return "ERR " + words[1]
		} else if !strings.HasPrefix(in.Text(), " ") {
			return words[0]
		}
	}
	s.T.Fatalf("%s: no verdict", line)
	return ""
}

func (s *shell) ok(line string) string {
	s.T.Helper()
	out, errs, status := s.do(strings.Fields(line)...)
	if status != admin.ExitDone {
		s.T.Fatalf("%s: status %d: %s", line, status, errs)
	}
	return out
}

// join connects to a room and reads until the member is there.
func (s *shell) join(room string) *bufio.Reader {
	s.T.Helper()
	return netsvctest.Join(s.T, s.Room(room).Port).In
}

// speak joins and says lines.
func (s *shell) speak(room string, lines ...string) {
	s.T.Helper()
	c := netsvctest.Dial(s.T, s.Room(room).Port)
	c.Send(lines...)
	c.HalfClose()
	c.Conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(c.In); err != nil {
		s.T.Fatal(err)
	}
	c.Conn.Close()
}

func until(t testing.TB, r *bufio.Reader, part string) string {
	t.Helper()
	for {
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", part, err)
		}
		if strings.Contains(l, part) {
			return l
		}
	}
}

// Text made to break a table, a terminal, or JSON.
const nasty = "\x1b[31m\x07 \"quoted\" \\ <b> \u202eback\tend"

// Every command of the table gives whole JSON, whatever chatters have typed.
func TestEveryCommandAsJSON(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.ok("create dev")
	s.ok("create old")
	s.ok("delete old --yes")
	s.speak("lobby", "/nick "+nasty, "/topic "+nasty, nasty, "/me "+nasty)
	s.join("lobby")
	s.join("lobby")
	s.ok("create spare")
	lines := map[string]string{
		"backup": "backup " + filepath.Join(s.dir, "copy.db"), "reopen": "reopen", "rename": "rename spare kept", "set": "set lobby replay 5", "port": fmt.Sprintf("port lobby %d", s.Options.Ports[1]),
		"status": "status", "load": "load", "rooms": "rooms", "room": "room lobby", "members": "members lobby", "who": "who guest-2",
		"ports": "ports", "health": "health", "connections": "connections", "read": "read lobby", "search": "search * end", "create": "create new", "trash": "trash",
		"delete": "delete dev --yes", "restore": "restore dev", "purge": "purge old --yes", "topic": "topic lobby", "say": "say lobby hi",
		"announce": "announce hi", "kick": "kick guest-2", "ban": "ban 192.0.2.1", "bans": "bans", "unban": "unban 1",
		"mute": "mute guest-3", "unmute": "unmute guest-3", "config": "config", "loglevel": "loglevel", "audit": "audit",
		"doctor": "doctor --full", "version": "version", "help": "help", "complete": "complete ro", "stop": "stop --dry-run",
		"reload": "reload --dry-run", "upgrade": "upgrade --dry-run",
	}
	var commands []struct {
		Command string `json:"command"`
	}
	if err := json.Unmarshal([]byte(s.ok("help --json")), &commands); err != nil || len(commands) < 20 {
		t.Fatal(commands, err)
	}
	for _, c := range commands {
		name, _, _ := strings.Cut(c.Command, " ")
		switch name {
		case "watch", "top":
			continue // streams have a test of their own
		case "rebind", "history", "quit": // every room is bound; the others are for the prompt
			if out, errs, status := s.do(name, "lobby", "--json"); out != "" || errs == "" || status == admin.ExitDone {
				t.Errorf("%s: %d %q %q", name, status, out, errs)
			}
			continue
		}
		line, ok := lines[name]
		if !ok {
			t.Errorf("no line for %s", name)
			continue
		}
		out := s.ok(line + " --json")
		for l := range strings.Lines(out) {
			if !json.Valid([]byte(l)) || strings.ContainsAny(strings.TrimSuffix(l, "\n"), "\x1b\x07\u202e\n") {
				t.Errorf("%s: %q", line, l)
			}
		}
		if out == "" && name != "complete" {
			t.Errorf("%s --json says nothing", line)
		}
		if help := s.ok("help " + name); !strings.Contains(help, "example: "+name) {
			t.Errorf("help %s: %s", name, help)
		}
	}
	for _, line := range []string{"rooms", "room lobby", "read lobby", "topic lobby"} {
		if out := s.ok(line); strings.ContainsAny(out, "\x1b\x07\u202e\t") || !strings.Contains(out, "\ufffd[31m\ufffd \"quoted\" \\ <b> \ufffdback end") {
			t.Errorf("%s: %q", line, out)
		}
	}
}

// What destroys asks first; the answer is void once things have changed.
func TestQuestions(t *testing.T) {
	s := startShell(t)
	s.ok("create dev")
	ann := s.join("dev")
	_, errs, status := s.do("delete", "dev")
	if status != admin.ExitUsage || !strings.Contains(errs, "deletes dev: 1 member, 0 lines, 0 B") {
		t.Fatalf("%d %s", status, errs)
	}
	_, token, _ := strings.Cut(errs, "--token ")
	token, _, _ = strings.Cut(token, " ")
	if out := s.ok("delete dev --dry-run"); !strings.Contains(out, "deletes dev") {
		t.Error(out)
	}
	s.speak("dev", "something new")
	if verdict := s.verdict("delete dev --token " + token); verdict != "ERR changed" {
		t.Fatal(verdict)
	}
	asked := ""
	var out, errw bytes.Buffer
	if status := admin.Once(s.socket, []string{"delete", "dev"}, nil, &out, &errw, func(q string) bool { asked = q; return true }); status != admin.ExitDone {
		t.Fatal(errw.String())
	}
	if !strings.Contains(asked, "1 member, 1 line, ") || !strings.Contains(asked, "last line") {
		t.Error(asked)
	}
	until(t, ann, "* dev: chat room being deleted")
	if out := s.ok("trash"); !strings.Contains(out, "dev") {
		t.Error(out)
	}
	s.ok("restore dev")
	if out := s.ok("read dev"); !strings.Contains(out, "something new") {
		t.Error(out)
	}
	if out := s.ok("audit"); strings.Count(out, "delete dev") != 2 || !strings.Contains(out, "restore dev") || strings.Contains(out, "dry-run") {
		t.Error(out)
	}
}

// Exit statuses, and errors that say what to do.
func TestStatuses(t *testing.T) {
	s := startShell(t)
	for line, want := range map[string]int{
		"sing": admin.ExitUsage, "room": admin.ExitUsage, "rooms --bad": admin.ExitUsage, "rooms --sort nothing": admin.ExitUsage,
		"room nowhere": admin.ExitRefused, "kick nobody": admin.ExitRefused, "unban 9": admin.ExitRefused, "restore x": admin.ExitRefused,
		"create a/b": admin.ExitRefused, "ban not/an/address": admin.ExitUsage, "r": admin.ExitUsage, "stat": admin.ExitDone,
	} {
		out, errs, status := s.do(strings.Fields(line)...)
		if status != want || status != admin.ExitDone && (out != "" || !strings.HasPrefix(errs, "roomd: ")) {
			t.Errorf("%s: status %d, want %d: %q %q", line, status, want, out, errs)
		}
	}
	s.ln.Close()
	if _, errs, status := s.do("rooms"); status != admin.ExitUnreachable || !strings.Contains(errs, "cannot be reached") {
		t.Errorf("%d %s", status, errs)
	}
	var err error
	if s.ln, err = s.srv.Listen(s.socket, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Bans and mutes hold at once, survive a restart, and end by themselves.
func TestBansAndMutes(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	ann := s.join("lobby")
	s.ok("mute guest-1 --for 1h")
	if out := s.ok("members"); !strings.Contains(out, "yes") {
		t.Error(out)
	}
	s.ok("ban 127.0.0.1 --for 2s --why testing")
	until(t, ann, "testing")
	s.Stop()
	s.Start()
	if out := s.ok("bans"); !strings.Contains(out, "testing") || !strings.Contains(out, "mute") {
		t.Error(out)
	}
	refused := func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Options.Ports[0]))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		l, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.HasPrefix(l, "* lobby: you are banned until ")
	}
	if !refused() {
		t.Error("who is banned gets in")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); refused(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("the ban does not end")
		}
	}
	for end := time.Now().Add(patience); len(s.Service.FindMembers("guest-1")) > 0; <-tick.C {
		if time.Now().After(end) {
			t.Fatal("who has left is still there")
		}
	}
	// Its nick and its address are still muted.
	s.speak("lobby", "/nick guest-1", "silenced")
	if out := s.ok("read lobby"); strings.Contains(out, "silenced") {
		t.Error(out)
	}
}

// A watch shows what happens, filtered, and ends when another line comes.
func TestWatch(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(c)
	io.WriteString(c, "version\nwatch lobby --json --match needle\n")
	until(t, in, "OK")
	// The watch has begun once something of it comes.
	stop := make(chan bool)
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				s.speak("lobby", "hay", "needle "+nasty, "hay")
			}
		}
	}()
	l := until(t, in, "needle")
	close(stop)
	<-done
	var h netsvc.Event
	if err := json.Unmarshal([]byte(l), &h); err != nil || h.Room != "lobby" || h.Type != "message" || h.Seq == 0 || !strings.HasPrefix(h.Text, "needle") {
		t.Fatalf("%q %v", l, err)
	}
	io.WriteString(c, "rooms\n")
	for {
		l, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if l == "OK\n" {
			break
		}
		if strings.Contains(l, "hay") {
			t.Fatalf("not what was asked for: %q", l)
		}
	}
	if l := until(t, in, "NAME"); !strings.HasPrefix(l, " ") {
		t.Errorf("%q", l)
	}
}

// A stale socket is removed; anything else is not, nor is one that answers.
func TestSocketFile(t *testing.T) {
	s := startShell(t)
	if st, err := os.Stat(s.socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
	if _, err := s.srv.Listen(s.socket, 0o600); err == nil || !strings.Contains(err.Error(), "another server answers") {
		t.Error(err)
	}
	file := filepath.Join(s.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.srv.Listen(file, 0o600); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Error(err)
	}
	stale := filepath.Join(s.dir, "stale")
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	l, err := s.srv.Listen(stale, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(stale); err != nil || st.Mode().Perm() != 0o660 {
		t.Error(st.Mode(), err)
	}
	l.Close()
}

func TestCompletion(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.ok("create Lounge")
	s.ok("create gone")
	s.ok("delete gone --yes")
	s.join("lobby")
	gone := s.talk("lobby")
	gone.says("/nick mallory")
	s.ok("mute mallory")
	gone.leave(s)
	for line, want := range map[string]string{
		"unmute m": "mallory", "mute m": "", "del": "delete", "room l": "lobby Lounge", "members lo": "lobby Lounge", "delete --p": "--purge", "restore ": "gone",
		"kick g": "guest-1", "watch e": "events", "watch lob": "lobby", "ban x --room lo": "lobby Lounge", "help unm": "unmute", "nosuch x": "",
		"watch mem": "members", "watch members lob": "lobby", "watch members lobby --so": "--sort", "watch members --sort l": "lag",
		"set lobby re": "read-only replay", "set lobby read-only o": "off on", "set lobby members d": "default", "create x --port ": fmt.Sprint(s.Options.Ports[0]+3, " ", s.Options.Ports[0]+4, " ", s.Options.Ports[0]+5, " ", s.Options.Ports[0]+6, " ", s.Options.Ports[0]+7),
		"delete lobby --i": "--in", "delete lobby --in 60s --say x --c": "--cancel", "rooms --state un": "unbound", "rebind ": "", "kick 127": "127.0.0.1",
	} {
		out, errs, status := s.do("complete", line)
		if got := strings.Join(strings.Fields(out), " "); got != want || status != admin.ExitDone {
			t.Errorf("%q: %q %s, want %q", line, got, errs, want)
		}
	}
}

func TestStop(t *testing.T) {
	s := startShell(t)
	if _, errs, status := s.do("stop"); status != admin.ExitUsage || !strings.Contains(errs, "stops the server: 0 members in 0 rooms") {
		t.Error(status, errs)
	}
	s.ok("stop --yes")
	<-s.halted
}
