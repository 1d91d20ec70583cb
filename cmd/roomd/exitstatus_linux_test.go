package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"roomd/store"
)

// seen is what the operator sees, and what commands change.
type seen struct {
	rooms   map[string]string // name to port and topic
	trash   []string
	bans    []string
	members []string
	stop    string // when one is planned
}

func (p *process) state() (s seen) {
	p.t.Helper()
	list := func(v any, words ...string) {
		out, errs, status := p.admin(append(words, "--json")...)
		if err := json.Unmarshal([]byte(out), v); err != nil || status != exitOK {
			p.t.Fatalf("%v: status %d, %s, %v", words, status, errs, err)
		}
	}
	var rooms, trash []struct {
		Name, Topic string
		Port        int
	}
	var bans []struct{ ID int }
	var members []struct {
		Nick  string
		Muted bool
		State string // that of one that is leaving
	}
	var server struct{ Stop string }
	list(&rooms, "rooms")
	list(&trash, "trash")
	list(&bans, "bans")
	list(&members, "members")
	list(&server, "status")
	s.stop = server.Stop
	s.rooms = make(map[string]string)
	for _, r := range rooms {
		s.rooms[r.Name] = fmt.Sprint(r.Port, " ", r.Topic)
	}
	for _, r := range trash {
		s.trash = append(s.trash, r.Name)
	}
	for _, b := range bans {
		s.bans = append(s.bans, fmt.Sprint(b.ID))
	}
	for _, m := range members {
		if m.State == "" {
			s.members = append(s.members, fmt.Sprint(m.Nick, " ", m.Muted))
		}
	}
	return s
}

// Each command whose status is 0 has done its work, and each that has not says
// so and why: also when nothing can be written, where some have nothing to write.
func TestStatusIsTrue(t *testing.T) {
	for _, ill := range []string{"read-only", "full"} {
		t.Run(ill, func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, "server.data = \"disk/roomd.db\"\nlimits.requests_per_second = 0")
			disk := filepath.Join(p.dir, "disk")
			if err := os.Mkdir(disk, 0o700); err != nil {
				t.Fatal(err)
			}
			if ill == "full" {
				t.Cleanup(func() { // what was in memory went with the server
					st, err := store.Open(filepath.Join(disk, "roomd.db"), store.Options{})
					if err != nil || st.Close() != nil {
						t.Error(err)
					}
				})
				p.env = append(p.env, "DISK="+disk)
				p.prefix = []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs -o size=8m tmpfs "$DISK" && exec "$0" "$@"`}
				if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
					t.Skipf("a small disk takes the right to mount: %v %s", err, out)
				}
			}
			p.start()
			for _, line := range []string{"create dev", "create spare", "create gone", "create lost", "create doomed", "delete gone --yes", "delete lost --yes", "ban 192.0.2.1", "stop --in 2h --yes"} {
				if _, errs, status := p.admin(strings.Fields(line)...); status != exitOK {
					t.Fatal(line, errs)
				}
			}
			ann, eve, mia := p.come(p.first), p.come(p.first), p.come(p.first)
			for m, nick := range map[*member]string{ann: "ann", eve: "eve", mia: "mia"} {
				m.say("/nick " + nick + "\n")
				m.hear("is now " + nick)
			}
			if _, errs, status := p.admin("mute", "mia", "--nick-only"); status != exitOK {
				t.Fatal(errs)
			}
			end := func() {}
			if ill == "read-only" {
				end = p.fault("fsync,fdatasync:error=EIO")
				ann.say("latch\n")
				ann.hear("* not sent: the store is read-only")
			} else {
				f, err := os.Create(fmt.Sprintf("/proc/%d/root%s/ballast", p.cmd.Process.Pid, disk))
				if err != nil {
					t.Fatal(err)
				}
				for err == nil {
					_, err = f.Write(make([]byte, 4096))
				}
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				f.Close()
			}
			port, planned := fmt.Sprint(p.first+30), p.state().stop
			has := func(list []string, what string) bool { return strings.Contains(fmt.Sprint(list)+" ", what) }
			always := func(seen) bool { return true }
			type try struct {
				line string
				done func(s seen) bool
			}
			tries := []try{
				{"create made", func(s seen) bool { return s.rooms["made"] != "" }},
				{"create topical --topic news", func(s seen) bool { return strings.HasSuffix(s.rooms["topical"], " news") }},
				{"topic lobby news", func(s seen) bool { return strings.HasSuffix(s.rooms["lobby"], " news") }},
				{"rename spare kept", func(s seen) bool { return s.rooms["kept"] != "" && s.rooms["spare"] == "" }},
				{"port lobby " + port, func(s seen) bool { return strings.HasPrefix(s.rooms["lobby"], port) }},
				{"delete dev --yes --say 'it moves'", func(s seen) bool { return s.rooms["dev"] == "" && has(s.trash, "dev") }},
				{"delete doomed --yes --purge", func(s seen) bool { return s.rooms["doomed"] == "" && !has(s.trash, "doomed") }},
				{"restore gone", func(s seen) bool { return s.rooms["gone"] != "" }},
				{"purge lost --yes", func(s seen) bool { return !has(s.trash, "lost") }},
				{"ban 192.0.2.9", func(s seen) bool { return len(s.bans) > 2 }},
				{"unban 1", func(s seen) bool { return !has(s.bans, "[1 ") }},
				{"mute ann --nick-only", func(s seen) bool { return has(s.members, "ann true") }},
				{"unmute mia", func(s seen) bool { return has(s.members, "mia false") }},
				{"kick eve", func(s seen) bool { return !has(s.members, "eve") }},
				{"set lobby replay 7", func(seen) bool {
					out, _, _ := p.admin("set", "lobby", "replay", "--json")
					return strings.Contains(out, `"value":"7"`)
				}},
				{"backup " + filepath.Join(p.dir, "copy.db"), func(seen) bool { // the client writes it, to another disk
					_, problems, err := store.Inspect(filepath.Join(p.dir, "copy.db"), true)
					return err == nil && len(problems) == 0
				}},
				{"say lobby hello", always}, {"announce hello", always}, {"loglevel info", always}, {"reload", always},
				{"stop --in 1h --yes", func(s seen) bool { return s.stop != planned }}, // kept, or members are told in vain
				{"stop --cancel", func(s seen) bool { return s.stop == "" }},
				{"rebind lobby", func(seen) bool { return false }}, // it is bound
			}
			if ill == "read-only" { // on a full disk it may well succeed
				tries = append(tries, try{"upgrade", func(seen) bool { return false }})
			}
			for _, c := range tries {
				before := p.state()
				out, errs, status := p.admin(split(t, c.line)...)
				after := p.state()
				done := c.done(after)
				switch {
				case (status == exitOK) != done:
					t.Errorf("%s: status %d, and done: %v\n%s%s%v\n%v", c.line, status, done, out, errs, before, after)
				case status != exitOK && (out != "" || fmt.Sprint(before) != fmt.Sprint(after)):
					t.Errorf("%s: refused, and something is done\n%s%s%v\n%v", c.line, out, errs, before, after)
				case status != exitOK && c.line != "rebind lobby" && !strings.Contains(errs, "read-only") && !strings.Contains(errs, "full") && !strings.Contains(errs, "no space"):
					t.Errorf("%s: %s", c.line, errs)
				case status == exitOK && errs != "":
					t.Errorf("%s: done, and %s", c.line, errs)
				}
				if ill == "read-only" && done && !strings.Contains(out, "the audit") && !strings.HasPrefix(c.line, "backup") {
					t.Errorf("%s: it does not say that the audit lacks it: %s", c.line, out)
				}
				t.Logf("%-36s status %d %s%s", c.line, status, out, errs)
			}
			for _, look := range []string{"status", "rooms", "room lobby", "members", "who ann", "ports", "read lobby", "search * x", "doctor", "trash", "bans", "config", "audit", "version", "topic lobby", "set lobby", "loglevel", "help"} {
				if _, errs, status := p.admin(strings.Fields(look)...); status != exitOK || errs != "" {
					t.Errorf("%s: %d %s", look, status, errs)
				}
			}
			if ill == "full" {
				return
			}
			if _, errs, status := p.admin("reopen"); status != exitFailed || !strings.Contains(errs, "the database stays read-only") {
				t.Errorf("reopen: %d %s", status, errs)
			}
			was := p.state()
			end()
			eventually(t, "it takes changes again", func() bool { _, _, status := p.admin("topic", "lobby", "well"); return status == exitOK })
			if err := p.kill(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			p.start()
			now := p.state()
			was.rooms["lobby"], was.members = now.rooms["lobby"], nil
			if fmt.Sprint(was) != fmt.Sprint(now) {
				t.Errorf("what was refused came with the restart, or what was done went:\n%v\n%v", was, now)
			}
		})
	}
}

// split makes words of a line with quotes.
func split(t *testing.T, line string) (words []string) {
	t.Helper()
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}
