package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// otherClient is a program of others, and how it sends what comes from its
// standard input and closes at once; HOST and PORT are
// put in.
type otherClient struct {
	name    string
	program string // which is looked for
	pkg     string // the Debian package that has it
	plain   string
	secure  string // over TLS; empty: it has none
	// typed are keys instead of the standard input, at a terminal: behind each of
	// the texts that are waited for, some. LINES stands for the lines, and ANSWER for
	// the beginning of what comes of them.
	typed [][2]string
}

var otherClients = []otherClient{
	{name: "openbsd nc", program: "nc.openbsd", pkg: "netcat-openbsd", plain: "nc.openbsd -q0 HOST PORT"},
	{name: "traditional nc", program: "nc.traditional", pkg: "netcat-traditional", plain: "nc.traditional -q0 HOST PORT"},
	{name: "busybox nc", program: "busybox", pkg: "busybox", plain: "busybox nc HOST PORT"},
	{name: "ncat", program: "ncat", pkg: "ncat", plain: "ncat --send-only HOST PORT", secure: "ncat --ssl --send-only HOST PORT"},
	{name: "socat", program: "socat", pkg: "socat", plain: "socat -u - TCP:HOST:PORT", secure: "socat -u - OPENSSL:HOST:PORT,verify=0"},
	{name: "bash", program: "bash", pkg: "bash", plain: "cat >/dev/tcp/HOST/PORT"},
	{name: "openssl", program: "openssl", pkg: "openssl", secure: "openssl s_client -quiet -no_ign_eof -connect HOST:PORT"},
	{name: "busybox telnet, lines", program: "busybox", pkg: "busybox", plain: "busybox telnet HOST PORT"},
	{name: "busybox telnet, characters", program: "busybox", pkg: "busybox", plain: "busybox telnet HOST PORT", typed: [][2]string{
		{"Connected", "\x1d\r"}, {"Console escape", "c\rLINES"}, {"ANSWER", ""}, // it is killed: it has no key for that
	}},
	{name: "GNU telnet, lines", program: "inetutils-telnet", pkg: "inetutils-telnet", plain: "inetutils-telnet HOST PORT", typed: [][2]string{
		{"Escape character", "LINES"}, {"ANSWER", ""},
	}},
	{name: "GNU telnet, characters", program: "inetutils-telnet", pkg: "inetutils-telnet", plain: "HOME=CHARACTERS inetutils-telnet HOST PORT", typed: [][2]string{
		{"Escape character", "LINES"}, {"ANSWER", ""},
	}},
}

// sendsFlag is how often each client sends something, to each kind of port: `make
// clients` has 200.
var sendsFlag = flag.Int("clients.sends", 5, "how often each client of others sends something")

// Whatever client people have, what it sends is there, though it closes at once
// and reads nothing: each of many sends, in a room, in one with a password, and
// at the master port, in plain text and over TLS.
func TestOtherClients(t *testing.T) {
	home := t.TempDir() // of a telnet that asks for character mode
	if err := os.WriteFile(filepath.Join(home, ".telnetrc"), []byte("DEFAULT\n\tmode character\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, secure := range []bool{false, true} {
		p := newProcess(t, "")
		const rooms = 600 // those of one client may be there yet when the next one comes
		p.first = int(nextPort.Take(rooms)) - rooms
		config := []string{
			fmt.Sprintf("rooms.max = %d", rooms), fmt.Sprintf("rooms.ports = \"%d-%d\"", p.first, p.first+rooms-1), "limits.members = 2000", `server.create = ["lobby"]`,
		}
		p.configure(config...)
		p.start()
		p.nc(p.master, strings.NewReader("CREATE den secret\n"))
		if secure {
			if err := p.kill(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			writeKeyPair(t, p.dir, "roomd")
			p.configure(append(config, `tls.cert = "cert.pem"`, `tls.key = "key.pem"`)...)
			p.start()
		}
		names := make(map[string]string)
		for i, c := range otherClients {
			command := c.plain
			if secure {
				command = c.secure
			}
			if _, err := exec.LookPath(c.program); err != nil {
				t.Logf("%s is not tried: install %s", c.name, c.pkg)
				continue
			}
			if command == "" {
				continue
			}
			name := fmt.Sprintf("c%d", i)
			names[name] = c.name
			for _, to := range []struct {
				port  int
				lines string
			}{{p.first, "NAME\n"}, {p.first + 1, "/pass secret\nNAME\n"}, {p.master, "CREATE NAME\nDELETE NAME\n"}} {
				began := time.Now()
				command := strings.NewReplacer("HOST", "127.0.0.1", "PORT", fmt.Sprint(to.port), "CHARACTERS", home).Replace(command)
				if c.typed == nil {
					pipe(t, command, to.lines, name)
				} else {
					typeAll(t, command, to.lines, name, c.typed)
				}
				t.Logf("%s to port %d: %v", c.name, to.port, time.Since(began).Round(time.Millisecond))
			}
		}
		if err := p.kill(syscall.SIGTERM); err != nil { // what came before is handled
			t.Error(err)
		}
		log, err := os.ReadFile(p.log.Name())
		if err != nil {
			t.Fatal(err)
		}
		for where, text := range map[string]string{"lobby": p.ok("store", "export", "lobby"), "den": p.ok("store", "export", "den"), "the master port": string(log)} {
			found := make(map[string]int)
			for _, m := range regexp.MustCompile(`(?:"text":"|msg="room created" room=)(c\d+)-\d+\b`).FindAllStringSubmatch(text, -1) {
				found[m[1]]++
			}
			for name, client := range names {
				if found[name] != *sendsFlag {
					t.Errorf("%s, %s, TLS %v: %d of %d are there", client, where, secure, found[name], *sendsFlag)
				}
			}
		}
	}
}

// pipe gives the lines to the standard input of a command, each time with another
// name, some at once.
func pipe(t *testing.T, command, lines, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	lines = strings.ReplaceAll(strings.ReplaceAll(lines, "NAME", name+"-$i"), "\n", "\\n")
	script := fmt.Sprintf(`for ((i = 0; i < %d; i++)); do printf "%s" | %s & ((i %% 20 == 19)) && wait; done; wait`, *sendsFlag, lines, command)
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	if err := cmd.Run(); err != nil && ctx.Err() != nil {
		t.Errorf("%s: %v", command, err)
	}
}

// typeAll has a command run at a terminal, each time with another name, some at
// once, and types.
func typeAll(t *testing.T, command, lines, name string, typed [][2]string) {
	var all sync.WaitGroup
	turns := make(chan bool, 10)
	for i := range *sendsFlag {
		turns <- true
		all.Go(func() {
			defer func() { <-turns }()
			name := fmt.Sprintf("%s-%04d", name, i) // none begins like another
			lines, answer := strings.ReplaceAll(strings.ReplaceAll(lines, "NAME", name), "\n", "\r"), "> "+name
			if strings.HasPrefix(lines, "CREATE") {
				answer = "OK " + name
			}
			cmd := exec.Command("sh", "-c", "exec env "+command)
			tty, err := pty.Start(cmd)
			if err != nil {
				t.Error(err)
				return
			}
			defer tty.Close()
			late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
			defer late.Stop()
			seen, b := "", make([]byte, 4096)
			for _, step := range typed {
				step[0] = strings.ReplaceAll(step[0], "ANSWER", answer)
				for !strings.Contains(seen, step[0]) {
					n, err := tty.Read(b)
					if seen += string(b[:n]); err != nil {
						t.Errorf("%s: waiting for %q: %q, %v", command, step[0], seen, err)
						return
					}
				}
				_, seen, _ = strings.Cut(seen, step[0])
				tty.WriteString(strings.ReplaceAll(step[1], "LINES", lines))
			}
			if last := typed[len(typed)-1]; last[1] == "" {
				cmd.Process.Kill()
			}
			io.Copy(io.Discard, tty)
			cmd.Wait()
		})
	}
	all.Wait()
}
