package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"roomd/cmd/roomd/roomdtest"
)

// console has the lines carried out at the admin socket, as nc -U does.
func (p *process) console(lines string) string {
	p.t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(p.dir, "roomd.sock"), Net: "unix"})
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	_, err = io.WriteString(c, lines)
	err = errors.Join(err, c.CloseWrite())
	out, e := io.ReadAll(c)
	if err := errors.Join(err, e); err != nil {
		p.t.Fatal(err)
	}
	return string(out)
}

// A server starts on a database with damaged records: what they are about is
// left out and named, and all others serve.
func TestDamagedRecords(t *testing.T) {
	metrics := int(nextPort.Take(1)) - 1
	p := newProcess(t, fmt.Sprintf("limits.requests_per_second = 0\nmetrics.listen = \"127.0.0.1:%d\"", metrics))
	p.env = []string{"GORACE=atexit_sleep_ms=0"}
	p.start()
	master := p.visit(p.master)
	ask := func(v visitor, line, want string) string {
		t.Helper()
		fmt.Fprintln(v, line)
		return v.until(t, want)
	}
	ask(master, "CREATE bad-record", "OK")
	ask(master, "CREATE bad-head", "OK")
	ask(master, "CREATE good", "OK")
	p.nc(p.first+2, strings.NewReader("one\ntwo\nthree\n"))
	p.nc(p.first+3, strings.NewReader("all is well\n"))
	p.console("ban eve --yes --why \"first ban\"\nban mallory --yes --why \"second ban\"\n")
	master.Close()
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "roomd.db")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head := binary.BigEndian.AppendUint64(nil, 3) // the room, its last number, its lines
	head = binary.BigEndian.AppendUint64(head, 3)
	head = binary.BigEndian.AppendUint64(head, 3)
	spoilt := bytes.Clone(whole)
	for _, what := range []string{`"name":"bad-record"`, string(head), `"why":"first ban"`, `"line":"ban eve`} {
		n := 0
		for at := 0; ; n++ {
			i := bytes.Index(spoilt[at:], []byte(what))
			if i < 0 {
				break
			}
			at += i + len(what)
			spoilt[at-1] ^= 1
		}
		if n == 0 {
			t.Fatalf("%q is not in the database", what)
		}
	}
	if err := os.WriteFile(file, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	log, err := os.ReadFile(p.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`room 2, \"bad-record\", on port`, `room 3, \"bad-head\", on port`, "the record of ban #1", "1 record of the audit"} {
		if strings.Count(string(log), want) != 1 {
			t.Errorf("%q is not in the log", want)
		}
	}
	if got := p.nc(p.first+3, strings.NewReader("")); !strings.Contains(got, "all is well") {
		t.Error(got)
	}
	told := p.console(fmt.Sprintf("bans\naudit\ncreate other --port %d\ndoctor\n", p.first+1))
	for what, want := range map[string]int{"first ban": 0, "second ban": 2, "corrupt room": 1, "is corrupt": 4} {
		if n := strings.Count(told, what); n != want {
			t.Errorf("%q is there %d times, not %d:\n%s", what, n, want, told)
		}
	}
	if got, _ := roomdtest.Get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics)); !strings.Contains(got, "roomd_store_corrupt_records 4\n") {
		t.Error(got)
	}
	// Names and ports stay with their rooms, and all other ports are to be had.
	master = p.visit(p.master)
	ask(master, "CREATE Bad-Head", "ERR exists")
	ask(master, "CREATE bad-record", "ERR exists")
	for i := range 28 { // rooms.max is 30
		ask(master, fmt.Sprintf("CREATE new%d", i), fmt.Sprint(p.first+4+i))
	}
	master.Close()
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if out, status := p.tool("store", "check"); status != 1 || !strings.Contains(out, "the record of room 2") || !strings.Contains(out, "the head of room 3") {
		t.Error(status, out)
	}
	p.refuses("corrupt records", "store", "compact")
	if out, status := p.tool("store", "export", "--all"); status != exitFailed || !strings.Contains(out, "all is well") || !strings.Contains(out, `the export is incomplete: room 2, "bad-record"`) {
		t.Error(status, out)
	}
	if out := p.ok("store", "export", "good"); !strings.Contains(out, "all is well") {
		t.Error(out)
	}
	if out, status := p.tool("store", "audit"); status != exitFailed || !strings.Contains(out, "ban mallory") || !strings.Contains(out, "1 corrupt record of the audit") {
		t.Error(status, out)
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil { // which is what is checked now
		t.Fatal(err)
	}
}

// What reads a history with a damaged block says so, with status 1, and gives
// everything else.
func TestDamagedHistory(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	p.admin("create", "dev")
	p.nc(p.first, strings.NewReader("needle in lobby\n"))
	p.nc(p.first+1, strings.NewReader("needle in dev\n"))
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "roomd.db")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(whole)
	at := bytes.Index(spoilt, []byte("needle in lobby"))
	spoilt[at] ^= 1
	if err := os.WriteFile(file, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	for _, c := range []struct {
		words      []string
		status     int
		want, lack string // of the output; of the errors
	}{
		{[]string{"search", "*", "needle"}, exitFailed, "<guest-1> needle in dev", "1 corrupt block of lobby"},
		{[]string{"search", "*", "needle", "--json"}, exitFailed, `"text":"needle in dev"`, "1 corrupt block of lobby"},
		{[]string{"search", "*", "needle", "--count"}, exitFailed, "hits  1", "1 corrupt block of lobby"},
		{[]string{"search", "lobby", "needle"}, exitFailed, "none", "1 corrupt block of lobby"},
		{[]string{"search", "dev", "needle"}, exitOK, "needle in dev", ""},
		{[]string{"read", "lobby"}, exitFailed, "none", "1 corrupt block of lobby"},
		{[]string{"read", "dev"}, exitOK, "needle in dev", ""},
	} {
		out, errs, status := p.admin(c.words...)
		if status != c.status || !strings.Contains(out, c.want) || !strings.Contains(errs, c.lack) || (errs == "") != (status == exitOK) {
			t.Errorf("%v: status %d\n%s%s", c.words, status, out, errs)
		}
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, room := range []string{"--all", "lobby"} {
		if out, status := p.tool("store", "export", room); status != exitFailed || strings.Contains(out, "needle in dev") != (room == "--all") || !strings.Contains(out, "corrupt") {
			t.Errorf("export %s: %d %s", room, status, out)
		}
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil { // which is what is checked now
		t.Fatal(err)
	}
}
