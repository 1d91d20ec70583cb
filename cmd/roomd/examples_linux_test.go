package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
)

const examples = "../../examples"

const sayOnce = examples + "/shell/say-once.sh" // which TestIDsThroughKills runs

// exampleServer is a server, and a folder with the command roomd to be put into PATH.
func exampleServer(t *testing.T, extra string) (p *process, env []string) {
	t.Helper()
	p = newProcess(t, extra)
	p.start()
	bin := filepath.Join(p.dir, "bin")
	program(t, bin)
	env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), fmt.Sprintf("ROOMD_SERVER=127.0.0.1:%d", p.master))
	return p, env
}

// background starts a program, which ends with the test.
func background(t *testing.T, env []string, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", name, errs.String())
		}
	})
	return cmd
}

func needs(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
}

// Every example is named by the page about them, and by a test here.
func TestExamplesAreTested(t *testing.T) {
	page, err := os.ReadFile(examples + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("examples_linux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(examples, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), "go.") || d.Name() == "README.md" {
			return err
		}
		rel, err := filepath.Rel(examples, path)
		folder, _, _ := strings.Cut(rel, "/")
		if !bytes.Contains(page, []byte("("+folder+")")) {
			t.Errorf("README.md does not name %s", folder)
		}
		if d.Name() != "main.go" && !bytes.Contains(tests, []byte(rel)) {
			t.Errorf("%s is tried by no test", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The units are in order for systemd, and what they start does what they say.
func TestExampleUnits(t *testing.T) {
	p, env := exampleServer(t, `server.create = ["lobby", "ops"]`)
	unit := func(name, instance string) (exec string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(examples, name))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s starts nothing", name)
		}
		return strings.NewReplacer("%i", instance, "/usr/bin/roomd ", "roomd ", "/var/lib/roomd-archive", p.dir).Replace(string(found[1]))
	}
	run := func(command string) string {
		t.Helper()
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = env
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	p.nc(p.first, strings.NewReader("one\ntwo\n"))
	archive := unit("systemd/roomd-archive@.service", "lobby")
	if out := run(archive); strings.Count(out, "\n") != 2 || !strings.Contains(out, `"text":"two"`) {
		t.Errorf("the first run: %s", out)
	}
	p.nc(p.first, strings.NewReader("three\n"))
	if out := run(archive); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"text":"three"`) {
		t.Errorf("the second run: %s", out)
	}
	// What reads the journal: this machine may have none.
	journal := "#!/bin/sh\nprintf 'GET / 200\\nGET /x 404\\n'\n"
	if err := os.WriteFile(filepath.Join(p.dir, "bin", "journalctl"), []byte(journal), 0o700); err != nil {
		t.Fatal(err)
	}
	run(unit("systemd/roomd-journal@.service", "nginx"))
	if got := p.nc(p.first+1, strings.NewReader("")); !strings.Contains(got, "<nginx> GET / 200\n<nginx> GET /x 404\n") {
		t.Errorf("the room has %q", got)
	}

	needs(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"systemd/roomd-archive@.service", "systemd/roomd-archive@.timer", "systemd/roomd-journal@.service"} {
		text, err := os.ReadFile(filepath.Join(examples, name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, strings.Replace(filepath.Base(name), "@", "@lobby", 1))
		if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("/usr/bin/roomd"), []byte(os.Args[0])), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// An alert is in the room when Alertmanager is answered 200, and it is answered
// otherwise when it is not.
func TestExampleAlerts(t *testing.T) {
	needs(t, "python3")
	p, env := exampleServer(t, "")
	port := p.first + 30
	post := func(body string) int {
		t.Helper()
		var status int
		eventually(t, "alerts.py answers", func() bool {
			resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/", port), "application/json", strings.NewReader(body))
			if err != nil {
				return false
			}
			resp.Body.Close()
			status = resp.StatusCode
			return true
		})
		return status
	}
	background(t, env, "python3", examples+"/alertmanager/alerts.py", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "lobby")
	alert := `{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"DiskFull","severity":"page","instance":"db1"},
		"annotations":{"summary":"the disk of db1\nis full"}}]}`
	if status := post(alert); status != http.StatusOK {
		t.Errorf("an alert: %d", status)
	}
	if got := p.nc(p.first, strings.NewReader("")); !strings.Contains(got, "<alerts> FIRING DiskFull instance=db1: the disk of db1 is full\n") {
		t.Errorf("the room has %q", got)
	}
	for _, bad := range []string{"", "[]", "{", `{"alerts":[1]}`} {
		if status := post(bad); status != http.StatusBadRequest {
			t.Errorf("%q: %d", bad, status)
		}
	}
	run([]string{"admin", "--socket", filepath.Join(p.dir, "roomd.sock"), "set", "lobby", "read-only", "on"}, nil, io.Discard, io.Discard)
	if status := post(alert); status != http.StatusServiceUnavailable {
		t.Errorf("an alert that cannot be stored: %d", status)
	}
	text, err := os.ReadFile(examples + "/alertmanager/alertmanager.yml")
	if err != nil || !bytes.Contains(text, []byte("url: http://127.0.0.1:9099/")) {
		t.Errorf("alertmanager.yml does not post to where alerts.py listens: %v", err)
	}
}

// A bot answers, also what was asked while the server was away, and nothing twice.
func TestExamplePython(t *testing.T) {
	needs(t, "python3")
	p, env := exampleServer(t, "")
	background(t, env, "python3", examples+"/python/bot.py", "--server", fmt.Sprintf("127.0.0.1:%d", p.master), "lobby")
	botAnswers(t, p, "dice", "!roll 1", ": 1")
}

// botAnswers asks a bot in the lobby, before and after a crash of the server.
func botAnswers(t *testing.T, p *process, nick, question, answer string) {
	t.Helper()
	ann := p.visit(p.first)
	ann.until(t, nick) // it has come
	fmt.Fprintf(ann, "/nick ann\n%s\n", question)
	ann.until(t, "<"+nick+"> ann"+answer)
	if err := p.kill(syscall.SIGKILL); err != nil && err.Error() != "signal: killed" {
		t.Fatal(err)
	}
	p.start()
	bob := p.visit(p.first)
	fmt.Fprintf(bob, "/nick bob\n%s\n", question)
	bob.until(t, "<"+nick+"> bob"+answer)
	_, got, _ := strings.Cut(p.nc(p.first, strings.NewReader("/since 0\n")), "* everything after 0")
	if n := strings.Count(got, "<"+nick+"> ann"+answer); n != 1 {
		t.Errorf("the first question is answered %d times: %s", n, got)
	}
}

// The Go programs are built in their own module, and do what they say.
func TestExampleGo(t *testing.T) {
	p, env := exampleServer(t, "")
	build := exec.Command("go", "build", "-o", p.dir+"/", "./...")
	build.Dir = examples + "/go"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cursor := filepath.Join(p.dir, "cursor")
	background(t, env, filepath.Join(p.dir, "bot"), "-server", fmt.Sprintf("127.0.0.1:%d", p.master), "-cursor", cursor, "lobby")
	botAnswers(t, p, "clock", "!time", ": it is ")
	eventually(t, "the cursor is in its file", func() bool {
		text, err := os.ReadFile(cursor)
		return err == nil && json.Valid(text)
	})

	other, _ := exampleServer(t, "")
	background(t, env, filepath.Join(p.dir, "bridge"), fmt.Sprintf("127.0.0.1:%d/lobby", p.master), fmt.Sprintf("127.0.0.1:%d/lobby", other.master))
	here, there := p.visit(p.first), other.visit(other.first)
	here.until(t, "bridge")
	there.until(t, "bridge")
	fmt.Fprintf(here, "/nick ann\nhello there\n")
	there.until(t, "<bridge> <ann> hello there")
	fmt.Fprintf(there, "/nick bob\n/me waves\n")
	here.until(t, "<bridge> * bob waves")
}

// The configuration in kubernetes/roomd.yaml is one. (`make try-manifests` checks the rest of it
// and container/compose.yaml.)
func TestExampleManifests(t *testing.T) {
	text, err := os.ReadFile(examples + "/kubernetes/roomd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, toml, _ := strings.Cut(string(text), "config.toml: |\n")
	toml, _, _ = strings.Cut(toml, "\n---")
	dir := t.TempDir()
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(toml, "/var/lib/roomd", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	if status := run([]string{"check", "--config", file}, nil, io.Discard, &errs); status != exitOK {
		t.Errorf("%d: %s", status, errs.String())
	}
}

// Through each proxy a member is seen with its own address.
func TestExampleProxies(t *testing.T) {
	for _, c := range []struct {
		file, tool string
		start      func(file string) []string
	}{
		{"proxies/haproxy.cfg", "haproxy", func(f string) []string { return []string{"-db", "-f", f} }},
		{"proxies/nginx.conf", "nginx", func(f string) []string {
			return []string{"-c", f, "-g", "daemon off; pid " + filepath.Dir(f) + "/pid;load_module /usr/lib/nginx/modules/ngx_stream_module.so;", "-e", "stderr"}
		}},
		{"proxies/stunnel.conf", "stunnel", func(f string) []string { return []string{f} }},
		{"proxies/Caddyfile", "caddy", nil},
	} {
		t.Run(c.tool, func(t *testing.T) {
			needs(t, c.tool)
			p, env := exampleServer(t, `server.proxies = ["127.0.0.1"]`)
			text, err := os.ReadFile(filepath.Join(examples, c.file))
			if err != nil {
				t.Fatal(err)
			}
			front := p.first + 20
			cert := filepath.Join(p.dir, "chat.pem")
			file := filepath.Join(p.dir, filepath.Base(c.file))
			config := strings.NewReplacer("18080", fmt.Sprint(front), "19000-19009", fmt.Sprintf("%d-%d", front+1, front+5), "19000", fmt.Sprint(front+1),
				"127.0.0.1:8080", fmt.Sprintf("127.0.0.1:%d", p.master), "127.0.0.1:9000", fmt.Sprintf("127.0.0.1:%d", p.first),
				"127.0.0.1:-10000", "127.0.0.1:-21", "/etc/stunnel/chat.pem", cert).Replace(string(text))
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.start == nil {
				cmd := exec.Command(c.tool, "adapt", "--config", file, "--adapter", "caddyfile", "--validate")
				cmd.Env = append(env, "METRICS_PASSWORD_HASH=JDJhJDE0JHZ4")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				return
			}
			if c.tool == "stunnel" {
				roomdtest.Certificate(t, p.dir, "roomd", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
				var pair []byte
				for _, name := range []string{"key.pem", "cert.pem"} {
					text, err := os.ReadFile(filepath.Join(p.dir, name))
					if err != nil {
						t.Fatal(err)
					}
					pair = append(pair, text...)
				}
				if err := os.WriteFile(cert, pair, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			background(t, env, c.tool, c.start(file)...)
			var conn net.Conn
			eventually(t, c.tool+" listens", func() bool {
				conn, err = net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", front+1), time.Second)
				return err == nil
			})
			defer conn.Close()
			local := conn.LocalAddr().String()
			if c.tool == "stunnel" {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(conn, "hello\n")
			said := bufio.NewReader(conn)
			for {
				l, err := said.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if l == "<guest-1> hello\n" {
					break
				}
			}
			var out strings.Builder
			if status := run([]string{"admin", "--socket", filepath.Join(p.dir, "roomd.sock"), "members", "lobby", "--json"}, nil, &out, io.Discard); status != 0 || !strings.Contains(out.String(), `"`+local+`"`) {
				t.Errorf("the member is not at %s: %s", local, out.String())
			}
			scheme := "http"
			if c.tool == "stunnel" {
				scheme = "https"
			}
			at := fmt.Sprintf("127.0.0.1:%d", front)
			b := browser{t: t, headers: []string{"Origin: " + scheme + "://" + at}}
			if a, _ := b.get(scheme + "://" + at + "/"); a.StatusCode != http.StatusOK {
				t.Errorf("the page: %d", a.StatusCode)
			}
			if ann, status := b.open(scheme + "://" + at + "/"); status == http.StatusSwitchingProtocols {
				ann.enter("lobby")
			} else {
				t.Errorf("the WebSocket: %d", status)
			}
		})
	}
}
