package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
)

// block is the one block of a language in a document.
func block(t *testing.T, document, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", document))
	roomdtest.Must(t, err)
	found := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(text, -1)
	if len(found) != 1 {
		t.Fatalf("%s has %d blocks of %s", document, len(found), language)
	}
	return string(found[0][1])
}

// Behind each proxy of the document the page works, at the top and below a path: its files, its links,
// and its WebSocket, in which the client has its own address.
func TestWebBehindProxies(t *testing.T) {
	for _, c := range []struct {
		tool, language string
		change         []string // for a machine that is not the internet's
		args           func(file string) []string
	}{
		{"nginx", "nginx", nil, func(f string) []string {
			return []string{"-c", f, "-g", "daemon off; pid " + filepath.Dir(f) + "/pid;", "-e", "stderr"}
		}},
		{"caddy", "caddy", []string{"chat.example.org {", "{\n\tadmin off\n\tauto_https disable_redirects\n}\nhttps://chat.example.org:443 {\n\ttls /etc/ssl/chat/cert.pem /etc/ssl/chat/key.pem"}, func(f string) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", f}
		}},
		{"haproxy", "haproxy", nil, func(f string) []string { return []string{"-db", "-f", f} }},
	} {
		t.Run(c.tool, func(t *testing.T) {
			needs(t, c.tool)
			p := newProcess(t, "")
			own, front := p.first+35, p.first+36
			document, err := os.ReadFile("../../docs/web.md")
			roomdtest.Must(t, err)
			settings := regexp.MustCompile("(?s)```toml\n(\\[web\\]\nlisten = \"127.0.0.1:8081\".*?)```").FindSubmatch(document)
			if settings == nil {
				t.Fatal("the document has no settings for roomd")
			}
			lines := []string{"irc.listen = []"}
			for l := range strings.Lines(strings.ReplaceAll(string(settings[1]), "8081", fmt.Sprint(own))) {
				if strings.Contains(l, " = ") {
					lines = append(lines, "web."+l)
				}
			}
			p.configure(lines...)
			p.start()
			roomdtest.Certificate(t, p.dir, "chat.example.org", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
			var both []byte
			for _, name := range []string{"cert.pem", "key.pem"} {
				text, err := os.ReadFile(filepath.Join(p.dir, name))
				roomdtest.Must(t, err)
				both = append(both, text...)
			}
			file := filepath.Join(p.dir, "proxy.conf")
			config := strings.NewReplacer(c.change...).Replace(block(t, "web.md", c.language))
			config = strings.NewReplacer("127.0.0.1:8081", fmt.Sprintf("127.0.0.1:%d", own), "443", fmt.Sprint(front), "/etc/ssl/chat", p.dir).Replace(config)
			roomdtest.Must(t, os.WriteFile(filepath.Join(p.dir, "chat.pem"), both, 0o600), os.WriteFile(file, []byte(config), 0o600))
			background(t, append(os.Environ(), "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir), c.tool, c.args(file)...)
			at := fmt.Sprintf("127.0.0.1:%d", front)
			eventually(t, c.tool+" listens", func() bool {
				conn, err := net.Dial("tcp", at)
				if err == nil {
					conn.Close()
				}
				return err == nil
			})
			host := fmt.Sprintf("chat.example.org:%d", front)
			for i, path := range []string{"/", "/chat/"} {
				from := fmt.Sprintf("127.0.0.%d", 20+i)
				b := browser{t: t, from: from, addr: at, headers: []string{"Origin: https://" + host, "Accept-Encoding: gzip"}}
				url := "https://" + host + path
				if a, _ := b.get(url); a.StatusCode != 200 || a.Header.Get("Content-Encoding") != "gzip" || a.Header.Get("Content-Security-Policy") == "" {
					t.Errorf("%s: %d %v", path, a.StatusCode, a.Header)
				}
				if a, _ := b.get(url + "r/stra%C3%9Fe"); a.StatusCode != 200 {
					t.Errorf("%s: a room: %d", path, a.StatusCode)
				}
				a, _ := b.get(url + fmt.Sprint(p.first))
				if to, err := a.Request.URL.Parse(a.Header.Get("Location")); err != nil || to.String() != url+"r/lobby" {
					t.Errorf("%s: the redirect leads to %v", path, to)
				}
				ann, status := b.open(url)
				if status != 101 {
					t.Fatalf("%s: the WebSocket: %d", path, status)
				}
				ann.enter("lobby")
				if out, _, _ := p.admin("members", "lobby", "--json"); !strings.Contains(out, `"`+from+":") {
					t.Errorf("%s: no member from %s: %s", path, from, out)
				}
				b.headers[0] = "Origin: https://evil.example"
				if _, status := b.open(url); status != 403 {
					t.Errorf("%s: a foreign origin: %d", path, status)
				}
			}
			if a, _ := (browser{t: t, addr: at}).get("https://" + host + "/chat"); a.StatusCode/100 != 3 || !strings.HasSuffix(a.Header.Get("Location"), "/chat/") {
				t.Errorf("the path without a slash: %d %v", a.StatusCode, a.Header)
			}
			if c.tool == "haproxy" {
				if out, err := exec.Command(c.tool, "-c", "-f", file).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
					t.Errorf("%v %s", err, out)
				}
			}
		})
	}
}
