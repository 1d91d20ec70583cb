package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"roomd/admin"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/upgrade"
	"roomd/netsvc"
	"roomd/store"
)

// asSuccessor makes the test binary a process that takes over, up to a fault.
const asSuccessor = "ROOMD_TEST_SUCCESSOR"

// The steps at which a successor has a fault, and what it does then.
const (
	beforeHello = "before hello"
	afterHello  = "after hello"
	halfway     = "halfway"    // some frames are received
	received    = "received"   // all are, and the database is not open
	opened      = "opened"     // it is
	adopted     = "adopted"    // and it has said so
	going       = "going"      // the word to serve has come
	exits       = "exits"      // with status 3
	crashes     = "crashes"    // by kill -9
	hangs       = "hangs"      // for longer than anybody waits
	breaks      = "breaks"     // the connection, and lives on
	refuses     = "refuses"    // and says why
	tooOld      = "is old"     // understands no states of ours
	newSchema   = "new schema" // would change the database
	elsewhere   = "elsewhere"  // has another database
	nonsense    = "says nonsense"
	replaces    = "replaces" // the database by a folder, and ends
)

// misbehave is a successor with a fault, "step: fault".
func misbehave(how string) int {
	step, fault, _ := strings.Cut(how, ": ")
	p, err := upgrade.FindPredecessor()
	if err != nil || p == nil {
		fmt.Fprintln(os.Stderr, "no predecessor:", err)
		return 1
	}
	at := func(now string) {
		if now != step {
			return
		}
		switch fault {
		case exits:
			os.Exit(3)
		case crashes:
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case hangs:
			select {}
		case breaks:
			p.Close()
			select {}
		case refuses:
			p.Fail(errors.New("no, thank you"))
			os.Exit(1)
		case nonsense:
			p.Send("nonsense", nil)
			select {}
		case replaces:
			path := filepath.Join(filepath.Dir(os.Args[len(os.Args)-1]), "roomd.db")
			os.Rename(path, path+".gone")
			os.Mkdir(path, 0o700)
			os.Exit(3)
		}
	}
	c, err := config.Load(os.Args[len(os.Args)-1], 0)
	if err != nil {
		p.Fail(err)
		return 1
	}
	at(beforeHello)
	data, _ := filepath.Abs(c.Server.Data)
	h := upgrade.Hello{Version: "0.0-test", Speaks: [2]int{1, upgrade.Version}, Schema: store.Schema, Data: data}
	switch fault {
	case tooOld:
		h.Speaks = [2]int{upgrade.Version + 1, upgrade.Version + 2}
	case newSchema:
		h.Schema++
	case elsewhere:
		h.Data = "/nowhere/roomd.db"
	}
	p.Send("hello", h)
	at(afterHello)
	if _, err := p.ReceiveState(); err != nil {
		return 1
	}
	type frame struct {
		kind string
		body []byte
		fds  []int
	}
	var frames []frame
	for {
		kind, body, fds, err := p.Next()
		if err != nil {
			return 1
		}
		if kind == "" {
			break
		}
		if kind == "admin" { // not for the network
			continue
		}
		frames = append(frames, frame{kind, body, fds})
		if kind == "room" {
			at(halfway)
		}
	}
	at(received)
	st, err := store.Open(c.Server.Data, store.Options{})
	if err != nil {
		p.Fail(err)
		return 1
	}
	svc := netsvc.New(st, netsvc.Options{
		Listen: c.Server.Listen, Port: c.Server.Port, Ports: [2]int{c.Rooms.Ports.First, c.Rooms.Ports.Last}, MaxRooms: c.Rooms.Max, Replay: c.Rooms.Replay,
		MaxMembers: c.Limits.Members, MaxConnections: c.Limits.Connections, LineBytes: c.Limits.LineBytes, MaxLag: c.Limits.MaxLag, DeadPeer: c.Limits.DeadPeer,
		Log: slog.New(slog.DiscardHandler),
	})
	at(opened)
	if err := svc.Adopt(func() (string, []byte, []int, error) {
		if len(frames) == 0 {
			return "", nil, nil, nil
		}
		f := frames[0]
		frames = frames[1:]
		return f.kind, f.body, f.fds, nil
	}); err != nil {
		p.Fail(err)
		return 1
	}
	p.Send("adopted", struct{}{})
	at(adopted)
	if p.Expect("go", new(struct{})) != nil {
		return 1
	}
	at(going)
	return 1
}

// Whatever goes wrong at whatever step, the old process goes on: its members
// notice nothing but the pause, the operator learns why, and the next upgrade
// succeeds.
func TestUpgradeFaults(t *testing.T) {
	script := func(t *testing.T, dir, text string) string {
		t.Helper()
		path := filepath.Join(dir, "successor")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	successor := func(how string) func(*testing.T, *process) string {
		return func(t *testing.T, p *process) string {
			return script(t, p.dir, fmt.Sprintf("%s='%s' exec %s \"$@\"", asSuccessor, how, os.Args[0]))
		}
	}
	tests := []struct {
		name   string
		binary func(*testing.T, *process) string
		want   string
	}{
		{"no such binary", func(_ *testing.T, p *process) string { return filepath.Join(p.dir, "nothing") }, "no such file"},
		{"not a program", func(_ *testing.T, p *process) string { return filepath.Join(p.dir, "config.toml") }, "permission denied"},
		{"another program", func(*testing.T, *process) string { return "/bin/true" }, "read its configuration: exit status 0"},
		{"bad configuration", func(_ *testing.T, p *process) string {
			p.configure("rooms.max = -1")
			return os.Args[0]
		}, "rooms.max: -1 is out of range"},
		{"another database", func(_ *testing.T, p *process) string {
			p.configure(`server.data = "x.db"`)
			return os.Args[0]
		}, "server.data"},
		{"the database is held", func(t *testing.T, p *process) string {
			// Who waits for the file when the server lets go of it gets it first, if it is woken
			// before somebody else tries: so at once, where that is allowed.
			return script(t, p.dir, fmt.Sprintf("now=; chrt -f 1 true 2>/dev/null && now='chrt -f 1'\n"+
				"$now flock %s/roomd.db sleep 3 </dev/null >/dev/null 2>&1 &\n"+
				"until grep -q -- \"-> FLOCK .* $! \" /proc/locks; do :; done\nexec %s \"$@\"", p.dir, os.Args[0]))
		}, "is in use by"},
	}
	for _, how := range []struct{ how, want string }{
		{beforeHello + ": " + exits, "read its configuration: exit status 3"},
		{beforeHello + ": " + hangs, "not read its configuration in time"},
		{beforeHello + ": " + breaks, "closed its connection"},
		{beforeHello + ": " + nonsense, `"nonsense"`},
		{": " + tooOld, "3 to 4"},
		{": " + newSchema, "schema version"},
		{": " + elsewhere, "/nowhere/roomd.db"},
		{afterHello + ": " + crashes, "adopted the state: signal: killed"},
		{afterHello + ": " + refuses, "no, thank you"},
		{afterHello + ": " + hangs, "not adopted the state in time"},
		{halfway + ": " + exits, "exit status 3"},
		{halfway + ": " + breaks, "closed its connection"},
		{received + ": " + crashes, "signal: killed"},
		{received + ": " + refuses, "no, thank you"},
		{opened + ": " + crashes, "signal: killed"},
		{opened + ": " + exits, "exit status 3"},
		{opened + ": " + hangs, "not adopted the state in time"},
		{adopted + ": " + crashes, "begun to serve: signal: killed"},
		{adopted + ": " + breaks, "before it had begun to serve"},
		{going + ": " + crashes, "begun to serve: signal: killed"},
		{going + ": " + hangs, "not begun to serve in time"},
		{going + ": " + refuses, "no, thank you"},
	} {
		tests = append(tests, struct {
			name   string
			binary func(*testing.T, *process) string
			want   string
		}{how.how, successor(how.how), how.want})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, "")
			m := newStandIn(t, filepath.Join(p.dir, "notify"))
			p.env = []string{"NOTIFY_SOCKET=" + m.name}
			p.start()
			m.until("READY=1")
			pid := p.cmd.Process.Pid
			ann, bob, master := p.come(p.first), p.come(p.first), p.come(p.master)
			ann.hear("you are guest-1")
			bob.hear("you are guest-2")
			ann.say("before\nhalf a ")
			bob.hear("<guest-1> before")
			master.say("LIS")
			out, errs, status := p.admin("upgrade", test.binary(t, p))
			if status != exitFailed || !strings.Contains(errs, "this server continues: ") || !strings.Contains(errs, test.want) {
				t.Errorf("status %d, %s%s; want %q", status, out, errs, test.want)
			}
			p.configure()
			ann.say("line\n")
			if l := bob.hear("<"); l != "<guest-1> half a line\n" {
				t.Errorf("bob sees %q", l)
			}
			ann.hear("<guest-1> half a line")
			master.say("T\n")
			master.hear("OK 1")
			p.come(p.first).hear("3 here, you are guest-3")
			told := ""
			if test.want != "no such file" { // of which nothing was started, and the manager told nothing
				told = m.until("STATUS=2 members")
			}
			if i := strings.LastIndex(told, "MAINPID="); i >= 0 && !strings.HasPrefix(told[i:], fmt.Sprintf("MAINPID=%d ", pid)) {
				t.Errorf("the manager takes another process for the server: %s", told)
			}
			if p.cmd.Process.Pid != pid {
				t.Error("another process serves")
			}
			p.upgrade()
			bob.say("after\n")
			ann.hear("<guest-2> after")
			if err := p.kill(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			rest, _ := io.ReadAll(ann.in)
			if got := string(rest); got != "* lobby: the server is stopping\n" && !strings.HasSuffix(got, "* lobby: the server is stopping\n") {
				t.Errorf("ann sees %q", got)
			}
		})
	}
}

// On a full disk lines are refused, and an upgrade takes those that are kept
// along all the same.
func TestUpgradeFullDisk(t *testing.T) {
	p := newProcess(t, `server.data = "small/roomd.db"`)
	small := filepath.Join(p.dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	p.prefix = []string{"unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs -o size=8m none "$SMALL" && exec "$0" "$@"`}
	t.Setenv("SMALL", small)
	if out, err := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs none "$SMALL"`).CombinedOutput(); err != nil {
		t.Skipf("a namespace to mount in: %v %s", err, out)
	}
	p.start()
	ann, bob := p.come(p.first), p.come(p.first)
	ann.hear("you are guest-1")
	bob.hear("you are guest-2")
	ann.say("kept\n")
	bob.hear("<guest-1> kept")
	ballast := fmt.Sprintf("/proc/%d/root%s/ballast", p.cmd.Process.Pid, small)
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	go func() {
		for range 3000 {
			if _, err := fmt.Fprintln(ann.conn, strings.Repeat("x", 4000)); err != nil {
				return
			}
		}
	}()
	ann.hear("* not sent: the disk is full")
	out, errs, status := p.admin("upgrade", "--json")
	pid := p.cmd.Process.Pid
	switch {
	case status == exitOK:
		var u admin.Upgrade
		if err := json.Unmarshal([]byte(out), &u); err != nil {
			t.Fatal(err)
		}
		pid = u.PID
		p.succeeded(pid)
	case !strings.Contains(errs, "this server continues: "):
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	t.Log("status", status, errs)
	if err := os.Remove(fmt.Sprintf("/proc/%d/root%s/ballast", pid, small)); err != nil {
		t.Fatal(err)
	}
	eve := p.come(p.first)
	eve.hear("you are guest-3")
	for end := time.Now().Add(patience); ; {
		eve.say("space again\n")
		if l := eve.hear("space again"); l == "<guest-3> space again\n" {
			break
		} else if time.Now().After(end) {
			t.Fatal("it does not recover")
		}
	}
	bob.hear("<guest-3> space again")
}

// A stop that comes in the middle of an upgrade is not lost.
func TestStopWhileUpgrading(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	path := filepath.Join(p.dir, "successor")
	text := fmt.Sprintf("#!/bin/sh\ntouch %s/started\n%s='%s' exec %s \"$@\"\n", p.dir, asSuccessor, beforeHello+": "+hangs, os.Args[0])
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() {
		_, errs, _ := p.admin("upgrade", path)
		answered <- errs
	}()
	eventually(t, "the successor is started", func() bool {
		_, err := os.Stat(p.dir + "/started")
		return err == nil
	})
	began := time.Now()
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second { // half of what a successor may take to say what it is
		t.Errorf("it took %v to stop", took)
	}
	ann.hear("* lobby: the server is stopping")
	t.Log(<-answered)
}

// While rooms with members that do not read are being deleted, another process
// takes over; the deletions end in time, and are answered.
func TestUpgradeWhileDeleting(t *testing.T) {
	p := newProcess(t, "limits.lines_per_second = 100000.0\nlimits.burst = 100000")
	p.start()
	master := p.come(p.master)
	const rooms, byOperator = 5, 2
	for i := range rooms {
		master.say(fmt.Sprintf("CREATE stuck%d\n", i))
		master.hear("OK stuck")
		stuck := p.dial(p.first + 1 + i)
		stuck.(*net.TCPConn).SetReadBuffer(4096)
		writer := p.come(p.first + 1 + i)
		for range 200 {
			writer.say(strings.Repeat("x", 4000) + "\n")
		}
		writer.say("the end\n")
		writer.hear("> the end")
	}
	ann := p.come(p.first)
	ann.say("before\n")
	ann.hear("> before")
	var all []*member
	for i := range rooms - byOperator {
		m := p.come(p.master)
		m.say(fmt.Sprintf("DELETE stuck%d\n", i))
		all = append(all, m)
	}
	var operators sync.WaitGroup
	for i, args := range [][]string{{"delete", "--yes"}, {"delete", "--yes", "--purge"}} {
		operators.Go(func() {
			room := fmt.Sprintf("stuck%d", rooms-byOperator+i)
			out, errs, status := p.admin(append(args, room)...)
			if status == 1 && len(args) == 3 && strings.Contains(errs, "still in the trash") {
				out, errs, status = p.admin("purge", "--yes", room) // by the other process
			}
			if status != 0 {
				t.Errorf("%v: %d, %s%s", args, status, out, errs)
			}
		})
	}
	eventually(t, "the rooms are going", func() bool {
		return strings.HasPrefix(p.nc(p.master, strings.NewReader("LIST\n")), "OK 1\n")
	})
	began := time.Now()
	p.upgrade()
	ann.say("after\n")
	ann.hear("> after")
	for i, m := range all {
		m.hear(fmt.Sprintf("OK stuck%d", i))
	}
	operators.Wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the deletions took %v", took)
	}
}

// A server whose database was replaced on the disk does not hand over: neither it
// nor the other process would have the lines that are in the open file.
func TestUpgradeOutOfPlace(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	ann := p.come(p.first)
	ann.say("one\n")
	ann.hear("> one")
	if _, errs, status := p.admin("backup", filepath.Join(p.dir, "copy.db")); status != 0 {
		t.Fatal(errs)
	}
	ann.say("two\n")
	ann.hear("> two")
	at := filepath.Join(p.dir, "roomd.db")
	if err := errors.Join(os.Rename(at, at+".was"), os.Symlink("copy.db", at)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"upgrade", "--dry-run"}, {"upgrade"}} {
		if _, _, status := p.admin(args...); status != 1 {
			t.Errorf("%v: status %d", args, status)
		}
	}
	if found, _, _ := p.admin("doctor", "--json"); !strings.Contains(found, `"database"`) {
		t.Error(found)
	}
	ann.say("/since 0\n")
	ann.hear("* everything after 0")
	ann.hear("> one")
	ann.hear("> two")
	if err := errors.Join(os.Remove(at), os.Rename(at+".was", at)); err != nil {
		t.Fatal(err)
	}
	p.upgrade()
	ann.say("/since 1\n")
	ann.hear("> two")
}
