package main

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"roomd/cmd/roomd/roomdtest"
)

// ircClient is a program of others in a folder of its own, connected to one server.
type ircClient interface {
	// types enters a line in the window of a channel, or of the server if that is empty.
	// What begins with / is a command of the client.
	types(channel, line string)
	// seen is what it shows of a channel, a person, or the server: its own screen.
	seen(channel string) string
	// lines are the messages of a channel since it came, in its order: "<ann> hello",
	// "* ann waves".
	lines(channel string) []string
	// quits lets it leave with a message.
	quits(message string)
}

// sees waits until a client shows the texts in that order, and returns all that it shows.
func sees(t testing.TB, c ircClient, channel string, texts ...string) (all string) {
	t.Helper()
	await(t, func() string {
		all = c.seen(channel)
		at := 0
		for _, text := range texts {
			i := strings.Index(all[at:], text)
			if i < 0 {
				return fmt.Sprintf("%T does not show %q in %q:\n%s", c, text, channel, all)
			}
			at += i + len(text)
		}
		return ""
	})
	return all
}

// messages are the matches of a pattern in a client's text: a nick and a text, or an
// action in one.
func messages(text string, pattern *regexp.Regexp) (all []string) {
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		if m[1] != "" {
			all = append(all, "<"+m[1]+"> "+m[2])
		} else {
			all = append(all, strings.Join(strings.Fields(m[3]), " "))
		}
	}
	return all
}

// need skips the test if a program is missing.
func need(t testing.TB, programs map[string]string) {
	t.Helper()
	for program, pkg := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (package %s)", program, pkg)
		}
	}
}

// irssi runs in a terminal. It shows one window at a time.
type irssi struct {
	screen
	dir string
}

// newIrssi connects irssi to an address of an IRC server. commands begin its command
// line, as "ip netns exec NAME" does. settings are lines of its configuration's settings.
func newIrssi(t testing.TB, addr, nick string, settings string, commands ...string) *irssi {
	t.Helper()
	need(t, map[string]string{"irssi": "irssi", "tmux": "tmux"})
	dir := t.TempDir()
	host, port, err := net.SplitHostPort(addr)
	roomdtest.Must(t, err, os.WriteFile(filepath.Join(dir, "config"), fmt.Appendf(nil, `
servers = ( { address = "%s"; chatnet = "here"; port = "%s"; autoconnect = "yes"; } );
chatnets = { here = { type = "IRC"; nick = "%s"; }; };
settings = {
  core = { real_name = "%[3]s"; user_name = "%[3]s"; nick = "%[3]s"; quit_message = "bye"; server_reconnect_time = "10s"; timestamp_format = "%%H:%%M:%%S"; %[4]s };
  "irc/core" = { cmds_max_at_once = "1000"; cmd_queue_speed = "1msec"; };
  "fe-text" = { paste_verify_line_count = "0"; paste_detect_time = "0"; };
  "fe-common/core" = { autolog = "yes"; autolog_path = "%[5]s/logs/$0.log"; autolog_level = "all"; };
};
`, host, port, nick, settings, dir), 0o600))
	command := append(commands, "irssi", "--home="+dir, "--config="+filepath.Join(dir, "config"))
	return &irssi{screenIn(t, dir, nick, command...), dir}
}

func (c *irssi) types(channel, line string) {
	c.t.Helper()
	c.window(channel)
	c.key("-l", line)
	c.key("Enter")
}

func (c *irssi) key(keys ...string) {
	c.t.Helper()
	c.tmux(append([]string{"send-keys", "-t", c.pane}, keys...)...)
}

// window shows the window of a channel, a person or the server.
func (c *irssi) window(channel string) {
	c.t.Helper()
	if channel == "" {
		channel = "1"
	}
	c.key("-l", "/window goto "+channel)
	c.key("Enter")
}

func (c *irssi) seen(channel string) string {
	c.t.Helper()
	prompt := "[" + cmp.Or(channel, "(status)") + "]"
	var got string
	await(c.t, func() string {
		c.window(channel) // which may come later
		got = strings.TrimRight(c.tmux("capture-pane", "-p", "-J", "-t", c.pane), " \n")
		if i := strings.LastIndexByte(got, '\n'); !strings.HasPrefix(got[i+1:], prompt) {
			return fmt.Sprintf("irssi does not show the window of %q:\n%s", channel, got)
		}
		return ""
	})
	return got
}

// log is what its log file has of a channel: more than its screen, also of a channel that
// it is no longer in.
func (c *irssi) log(channel string) string {
	text, _ := os.ReadFile(filepath.Join(c.dir, "logs", channel+".log"))
	return string(text)
}

func (c *irssi) lines(channel string) []string {
	return messages(c.log(channel), regexp.MustCompile(`(?m)^\d\d:\d\d (?:<.(\S+)> (.*)|( \* \S+ .*))$`))
}

func (c *irssi) quits(message string) { c.types("", "/quit "+message) }

// weechat is weechat-headless. It takes lines from a FIFO and shows everything in
// its log files.
type weechat struct {
	t   testing.TB
	dir string
}

func newWeechat(t testing.TB, addr, nick string, commands ...string) *weechat {
	t.Helper()
	need(t, map[string]string{"weechat-headless": "weechat-headless"})
	c := &weechat{t, t.TempDir()}
	host, port, err := net.SplitHostPort(addr)
	roomdtest.Must(t, err)
	args := append(commands, "weechat-headless", "-d", c.dir)
	for _, line := range []string{
		"/set logger.file.flush_delay 0",
		"/set logger.file.mask $plugin.$name.weechatlog",
		"/set logger.level.irc 9",
		"/set irc.look.server_buffer independent",
		fmt.Sprintf("/server add here %s/%s -notls -anti_flood_prio_high=0 -anti_flood_prio_low=0 -nicks=%s -username=%s -realname=%s", host, port, nick, nick, nick),
		"/connect here",
	} {
		args = append(args, "-r", line)
	}
	cmd := exec.Command(args[0], args[1:]...)
	roomdtest.Must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	await(t, func() string {
		if all, _ := filepath.Glob(filepath.Join(c.dir, "weechat_fifo_*")); len(all) == 1 {
			return ""
		}
		return "weechat has no FIFO (package weechat-plugins)"
	})
	return c
}

func (c *weechat) buffer(channel string) string {
	switch {
	case channel == "":
		return "irc.server.here"
	default:
		return "irc.here." + channel
	}
}

func (c *weechat) types(channel, line string) {
	c.t.Helper()
	all, err := filepath.Glob(filepath.Join(c.dir, "weechat_fifo_*"))
	if err != nil || len(all) != 1 {
		c.t.Fatal("weechat has ended", all, err)
	}
	f, err := os.OpenFile(all[0], os.O_WRONLY, 0)
	roomdtest.Must(c.t, err)
	_, err = fmt.Fprintf(f, "%s *%s\n", c.buffer(channel), line)
	roomdtest.Must(c.t, err, f.Close())
}

func (c *weechat) seen(channel string) string {
	text, _ := os.ReadFile(filepath.Join(c.dir, "logs", c.buffer(channel)+".weechatlog"))
	return string(text)
}

func (c *weechat) lines(channel string) []string {
	return messages(c.seen(channel), regexp.MustCompile(`(?m)^\S+ \S+\t(?:[@+]?([^\s*<>-]+)\t(.*)|( \*\t\S+ .*))$`))
}

func (c *weechat) quits(message string) { c.types("", "/quit "+message) }

// ii has a folder with files for each channel: lines are written to in and stand
// in out.
type ii struct {
	t   testing.TB
	dir string // of the server
}

func newII(t testing.TB, addr, nick string, commands ...string) *ii {
	t.Helper()
	need(t, map[string]string{"ii": "ii"})
	dir := t.TempDir()
	host, port, err := net.SplitHostPort(addr)
	roomdtest.Must(t, err)
	args := append(commands, "ii", "-i", dir, "-s", host, "-p", port, "-n", nick, "-f", nick)
	cmd := exec.Command(args[0], args[1:]...)
	roomdtest.Must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &ii{t, filepath.Join(dir, host)}
}

func (c *ii) types(channel, line string) {
	c.t.Helper()
	var f *os.File
	await(c.t, func() string { // it makes the file when it has joined
		var err error
		if f, err = os.OpenFile(filepath.Join(c.dir, channel, "in"), os.O_WRONLY, 0); err != nil {
			return err.Error()
		}
		return ""
	})
	_, err := fmt.Fprintln(f, line)
	roomdtest.Must(c.t, err, f.Close())
}

func (c *ii) seen(channel string) string {
	text, _ := os.ReadFile(filepath.Join(c.dir, channel, "out"))
	return string(text)
}

func (c *ii) lines(channel string) []string {
	var all []string
	for _, l := range messages(c.seen(channel), regexp.MustCompile(`(?m)^\d+ (?:<(\S+)> (.*)|(\* \S+ .*))$`)) {
		if who, what, ok := strings.Cut(strings.Trim(l, "\x01"), "> \x01ACTION "); ok { // it shows them as they are
			l = "* " + strings.TrimPrefix(who, "<") + " " + what
		}
		all = append(all, l)
	}
	return all
}

func (c *ii) quits(message string) { c.types("", "/q "+message) }

// ircWire stands between IRC clients and a server and keeps what they say: to a program's
// author, the only true documentation of its needs.
type ircWire struct {
	t    testing.TB
	ln   net.Listener
	to   string
	all  sync.WaitGroup
	mu   sync.Mutex
	said []string
	ends []net.Conn
}

// recordIRC listens for clients of a server.
func recordIRC(t testing.TB, server string) *ircWire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	roomdtest.Must(t, err)
	w := &ircWire{t: t, ln: ln, to: server}
	w.all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", server)
			if err != nil {
				c.Close()
				continue
			}
			w.mu.Lock()
			w.ends = append(w.ends, c, s)
			w.mu.Unlock()
			w.all.Go(func() { w.copy(s, c, "> ") })
			w.all.Go(func() { w.copy(c, s, "< ") })
		}
	})
	t.Cleanup(w.close)
	return w
}

func (w *ircWire) close() {
	w.ln.Close()
	w.mu.Lock()
	for _, c := range w.ends {
		c.Close()
	}
	w.mu.Unlock()
	w.all.Wait()
}

func (w *ircWire) addr() string { return w.ln.Addr().String() }

func (w *ircWire) copy(to, from net.Conn, mark string) {
	defer to.Close()
	for in := bufio.NewReader(from); ; {
		line, err := in.ReadString('\n')
		if line != "" {
			w.mu.Lock()
			w.said = append(w.said, mark+strings.TrimRight(line, "\r\n"))
			w.mu.Unlock()
			if _, err := to.Write([]byte(line)); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// lines are those said so far: "> " before the client's, "< " before the server's.
func (w *ircWire) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.said...)
}
