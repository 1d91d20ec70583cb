package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/cmd/roomd/roomdtest"
	"roomd/store"
)

// All mistakes at once, each with its line and what would be right.
func TestMistakes(t *testing.T) {
	t.Chdir("testdata")
	out, errw := new(bytes.Buffer), new(bytes.Buffer)
	status := run([]string{"check", "--config", "mistakes.toml"}, nil, out, errw)
	lines := strings.Split(errw.String(), "\n")
	for i, want := range []struct{ at, part string }{
		{"3: server.listen", `"localhost"`}, {"4: server.prot", "server.port?"}, {"5: server.port", `"8080"`}, {"8: rooms.ports", `"9000-9999"`},
		{"8: rooms.ports", "1000 ports for 5000 rooms"}, {"10: rooms.trash", `"24s"`}, {"13: limits.line_bytes", "64 to 65536"},
		{"14: limits.max_lag", "-10"}, {"15: limits.dead_peer", `"soon"`}, {"17: histroy", "history?"}, {"21: access.delete", `"everyone"`},
		{"24: tls.cert", "tls.key"}, {"26: syntax", "]"}, {"27: tls.level", "log.level?"},
	} {
		if line := lines[min(i, len(lines)-1)]; !strings.HasPrefix(line, "mistakes.toml:"+want.at+": ") || !strings.Contains(line, want.part) {
			t.Errorf("mistake %d is not about %s, with %s: %s", i, want.at, want.part, line)
		}
	}
	if status != exitFailed || out.Len() > 0 || len(lines) != 16 || !strings.HasPrefix(lines[14], "14 ") {
		t.Errorf("status %d, out %q, %s", status, out, errw)
	}
}

// checked runs roomd check on a configuration, which it writes into a folder.
func checked(t *testing.T, dir, extra string) (out, errs string, status int) {
	t.Helper()
	file := filepath.Join(dir, "config.toml")
	port := nextPort.Take(40) - 40
	text := fmt.Sprintf("server.port = %d\nrooms.ports = \"%d-%d\"\nrooms.max = 30\n%s\n", port, port+1, port+39, withIRC(extra))
	if strings.Contains(extra, "server.port") {
		_, text, _ = strings.Cut(text, "\n")
	}
	if strings.Contains(extra, "rooms.ports") {
		text = fmt.Sprintf("server.port = %d\n%s\n", port, withIRC(extra))
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	var o, e bytes.Buffer
	status = run([]string{"check", "--config", file}, nil, &o, &e)
	if after := listing(t, dir); !slices.Equal(before, after) {
		t.Errorf("%s\nbefore: %v\nafter:  %v", extra, before, after)
	}
	out, errs = o.String(), e.String()
	// One verdict, whatever it is.
	if ok := strings.Contains(out, ": ok\n"); ok != (status == exitOK) || ok != (errs == "") || !ok && out != "" {
		t.Errorf("%s: %d\n%s\n%s", extra, status, out, errs)
	}
	return out, errs, status
}

// listing is what is in a folder.
func listing(t *testing.T, dir string) (all []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err == nil {
			all = append(all, fmt.Sprint(path, " ", st.Mode(), " ", st.Size(), " ", st.ModTime()))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// What serve would fail of is a failure, and what it would warn of a warning.
func TestCheckTriesWhatServeDoes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port
	first := int(nextPort.Take(40)) - 40
	room, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first))
	if err != nil {
		t.Fatal(err)
	}
	defer room.Close()
	now := time.Now()
	for _, c := range []struct {
		name    string
		extra   string
		prepare func(dir string) error
		want    string // of the failure; "": a warning
		warning string
	}{
		{"all is well", "", nil, "", ""},
		{"no folder", `server.data = "away/roomd.db"`, nil, "server.data: ", ""},
		{"the folder is a file", `server.data = "file/roomd.db"`, func(dir string) error {
			return os.WriteFile(dir+"/file", nil, 0o600)
		}, "server.data: ", ""},
		{"the database is a folder", `server.data = "sub"`, func(dir string) error { return os.Mkdir(dir+"/sub", 0o700) }, "is not a regular file", ""},
		{"no database", "", func(dir string) error {
			return os.WriteFile(dir+"/roomd.db", bytes.Repeat([]byte("no database "), 5000), 0o600)
		}, "not a roomd database", ""},
		{"no group", `admin.group = "no-such-group"`, nil, "", "admin.group: "},
		{"no such host for the metrics", `metrics.listen = "no..such:9180"`, nil, "", "metrics.listen: "},
		{"a port in use", fmt.Sprintf("server.port = %d", taken), nil, fmt.Sprintf("port %d is in use", taken), ""},
		{"no port for the first room", fmt.Sprintf("rooms.ports = \"%d-%d\"\nrooms.max = 1", first, first), nil, "rooms.ports: ", ""},
		{"a port for it, and one in use", fmt.Sprintf("rooms.ports = \"%d-%d\"\nrooms.max = 1", first, first+9), nil, "", ""},
		{"no room to be made", fmt.Sprintf("server.create = []\nrooms.ports = \"%d-%d\"\nrooms.max = 1", first, first), nil, "", ""},
		{"the metrics' port in use", fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", taken), nil, "", "metrics.listen: "},
		{"the database in place of the socket", `admin.socket = "roomd.db"`, nil, "admin.socket: ", ""},
		{"its journal", `admin.socket = "roomd.db.journal"`, nil, "admin.socket: ", ""},
		{"a file in place of the socket", `admin.socket = "file"`, func(dir string) error { return os.WriteFile(dir+"/file", nil, 0o600) }, "admin.socket: ", ""},
		{"no address at all", `server.listen = ["192.0.2.77", "192.0.2.78"]`, nil, "", "192.0.2.78 is not an address of this machine"},
		{"no such address", `server.listen = ["127.0.0.1", "192.0.2.77"]`, nil, "", "192.0.2.77 is not an address of this machine"},
		{"no such interface", `server.listen = ["127.0.0.1", "fe80::1%nosuch0"]`, nil, "", "is not an address of this machine"},
		{"no folder for the socket", `admin.socket = "away/sock"`, nil, "", "admin.socket: "},
		{"a long path of the socket", `admin.socket = "` + strings.Repeat("x", 120) + `"`, nil, "", "admin.socket: "},
		{"good certificate", tlsKeys, func(dir string) error {
			return pairFor(t, dir, now.Add(-time.Hour), now.Add(1000*time.Hour))
		}, "", ""},
		{"it ends soon", tlsKeys, func(dir string) error {
			return pairFor(t, dir, now.Add(-time.Hour), now.Add(100*time.Hour))
		}, "", "tls.cert: "},
		{"expired", tlsKeys, func(dir string) error {
			return pairFor(t, dir, now.Add(-time.Hour), now.Add(-time.Minute))
		}, "has expired", ""},
		{"not valid yet", tlsKeys, func(dir string) error {
			return pairFor(t, dir, now.Add(time.Hour), now.Add(2*time.Hour))
		}, "is not valid yet", ""},
		{"no key", tlsKeys, func(dir string) error {
			return errors.Join(pairFor(t, dir, now.Add(-time.Hour), now.Add(1000*time.Hour)), os.Remove(dir+"/key.pem"))
		}, "tls.key: ", ""},
		{"another key", tlsKeys, func(dir string) error {
			if err := pairFor(t, dir, now.Add(-time.Hour), now.Add(time.Hour)); err != nil {
				return err
			}
			cert, err := os.ReadFile(dir + "/cert.pem")
			if err != nil {
				return err
			}
			return errors.Join(pairFor(t, dir, now.Add(-time.Hour), now.Add(1000*time.Hour)), os.WriteFile(dir+"/cert.pem", cert, 0o600))
		}, "private key does not match", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.prepare != nil {
				if err := c.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			out, errs, status := checked(t, dir, c.extra)
			switch {
			case c.want == "" && status != exitOK, c.want != "" && (status != exitFailed || !strings.Contains(errs, c.want)):
				t.Errorf("%d\n%s\n%s", status, out, errs)
			case c.want == "" && (c.warning != "") != strings.Contains(out, "warning: "+c.warning) && !strings.Contains(out, c.warning):
				t.Error(out)
			case c.want == "" && c.warning == "" && strings.Contains(out, "warning"):
				t.Error(out)
			}
		})
	}
	var o, e bytes.Buffer
	if status := run([]string{"check", "this"}, nil, &o, &e); status != exitUsage {
		t.Error(status, o.String(), e.String())
	}
}

// Where the machine lacks something check says that the server could start if, and
// only if, it does.
func TestCheckAgreesWithServe(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port
	for name, starts := range map[string]bool{
		`admin.group = "no-such-group"`: true, `metrics.listen = "no..such:9180"`: true, fmt.Sprintf(`metrics.listen = "127.0.0.1:%d"`, taken): true,
		`metrics.listen = "127.0.0.1:MASTER"`: false, `admin.socket = "away/sock"`: true, `admin.socket = "config.toml"`: false, `admin.socket = "roomd.db"`: false,
		`server.data = "away/roomd.db"`: false, `server.listen = ["127.0.0.1", "192.0.2.77"]`: true, fmt.Sprintf("server.port = %d", taken): false,
	} {
		p := newProcess(t, "")
		p.configure(strings.ReplaceAll(name, "MASTER", fmt.Sprint(p.master)))
		var said bytes.Buffer
		if status := run([]string{"check", "--config", p.dir + "/config.toml"}, nil, &said, &said); (status == exitOK) != starts {
			t.Errorf("%s: check ends with status %d: %s", name, status, &said)
		}
		cmd := p.roomd("serve", "--config", p.dir+"/config.toml")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		started := false
		for lines := bufio.NewScanner(out); !started && lines.Scan(); {
			started = strings.HasPrefix(lines.Text(), "ready")
		}
		cmd.Process.Kill()
		cmd.Wait()
		if started != starts {
			t.Errorf("%s: serve has started: %v", name, started)
		}
	}
}

// pairFor makes a certificate that is valid for a time, and its key.
func pairFor(t *testing.T, dir string, from, until time.Time) error {
	roomdtest.Certificate(t, dir, "roomd", from, until)
	return nil
}

const tlsKeys = "tls.cert = \"cert.pem\"\ntls.key = \"key.pem\""

// Root looks with the rights of the server's user.
func TestCheckAsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	const uid = 1234
	now := time.Now()
	for _, c := range []struct {
		name, extra string
		prepare     func(dir string) error
		want        string // of the failure; "warning": it is none
	}{
		{"all is its own", tlsKeys, func(dir string) error {
			return errors.Join(pairFor(t, dir, now.Add(-time.Hour), now.Add(1000*time.Hour)), os.Chown(dir+"/cert.pem", uid, uid), os.Chown(dir+"/key.pem", uid, uid))
		}, ""},
		{"a key of root", tlsKeys, func(dir string) error {
			return errors.Join(pairFor(t, dir, now.Add(-time.Hour), now.Add(1000*time.Hour)), os.Chown(dir+"/cert.pem", uid, uid), os.Chmod(dir+"/key.pem", 0o600))
		}, "tls.key: use "},
		{"a folder of root", "", func(dir string) error { return os.Chown(dir+"/data", 0, 0) }, "server.data: use "},
		{"a folder that may not be written", "", func(dir string) error { return os.Chmod(dir+"/data", 0o500) }, "server.data: use "},
		{"a journal of root", "", func(dir string) error { return os.WriteFile(dir+"/data/roomd.db.journal", nil, 0o600) }, "roomd.db.journal: permission denied"},
		{"a group that it is not in", "admin.group = \"root\"", nil, "warning: admin.group: "},
		{"a configuration of root", "", func(dir string) error { return os.WriteFile(dir+"/config.toml", nil, 0o600) }, "configuration: use "}, // its mode stays
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "roomd-check")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			st, err := store.Open(dir+"/data.db", store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(st.Close(), os.Chmod(dir, 0o755), os.Mkdir(dir+"/data", 0o755), os.Rename(dir+"/data.db", dir+"/data/roomd.db"),
				os.Chown(dir+"/data", uid, uid), os.Chown(dir+"/data/roomd.db", uid, uid)); err != nil {
				t.Fatal(err)
			}
			if c.prepare != nil {
				if err := c.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			out, errs, status := checked(t, dir, "server.data = \"data/roomd.db\"\nadmin.socket = \"data/sock\"\n"+c.extra)
			well := c.want == "" || strings.HasPrefix(c.want, "warning")
			if well != (status == exitOK) || !well && status != exitFailed || !strings.Contains(out+errs, c.want) {
				t.Errorf("%d\n%s\n%s", status, out, errs)
			}
		})
	}
	// And has its own again.
	if err := unix.Faccessat(unix.AT_FDCWD, "/etc/shadow", unix.R_OK, unix.AT_EACCESS); err != nil {
		t.Error(err)
	}
}

// The server's own ports and database are not in use by another.
func TestCheckWhileItRuns(t *testing.T) {
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", nextPort.Take(1)-1))
	p.start()
	out, errs, status := p.does("", "check")
	if status != exitOK || errs != "" || !strings.Contains(out, "which a server has open") {
		t.Errorf("%d %s %s", status, out, errs)
	}
	// A port that it is to have from now on is tried.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port
	for _, key := range []string{fmt.Sprint("server.port = ", taken), fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", taken)} {
		p.configure(key)
		out, errs, status := p.does("", "check")
		if (status == exitFailed) != strings.HasPrefix(key, "server.") || !strings.Contains(out+errs, fmt.Sprintf("port %d is in use", taken)) {
			t.Errorf("%s: %d %s %s", key, status, out, errs)
		}
	}
	p.configure()
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out, _, status := p.does("", "check"); status != exitOK || strings.Contains(out, "has open") {
		t.Error(status, out)
	}
}
