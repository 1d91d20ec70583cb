package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"roomd/cmd/roomd/roomdtest"
)

// browser makes requests as a browser does, from an address of this machine, with the headers given
// ("Name: value"). It takes any certificate, and finds every host at addr, if there is one.
type browser struct {
	t       testing.TB
	from    string // "": any
	addr    string // "": that of the URL
	headers []string
}

func (b browser) transport() *http.Transport {
	d := &net.Dialer{Timeout: patience}
	if b.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(b.from)}
	}
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if b.addr != "" {
			addr = b.addr
		}
		return d.DialContext(ctx, network, addr)
	}}
}

func (b browser) header() (h http.Header, host string) {
	h = make(http.Header)
	for _, line := range b.headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			host = value
		} else {
			h.Add(name, value)
		}
	}
	return h, host
}

// get makes a request, and follows no redirect.
func (b browser) get(url string) (a *http.Response, text string) {
	b.t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	roomdtest.Must(b.t, err)
	r.Header, r.Host = b.header()
	a, err = b.transport().RoundTrip(r)
	roomdtest.Must(b.t, err)
	defer a.Body.Close()
	all, err := io.ReadAll(a.Body)
	roomdtest.Must(b.t, err)
	return a, string(all)
}

// page is the WebSocket of a page.
type page struct {
	t testing.TB
	*websocket.Conn
}

// open opens the WebSocket of the page at a URL, or returns the status of the refusal.
func (b browser) open(url string) (page, int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	h, host := b.header()
	c, a, err := websocket.Dial(ctx, url+"ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: b.transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, HTTPHeader: h, Host: host, Subprotocols: []string{"roomd.v1"}})
	if err != nil {
		if a == nil {
			b.t.Fatal(err)
		}
		return page{}, a.StatusCode
	}
	b.t.Cleanup(func() { c.CloseNow() })
	return page{b.t, c}, a.StatusCode
}

// read reads a message: a room, and its first line of JSON.
func (p page) read() (room string, line map[string]any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	_, b, err := p.Read(ctx)
	roomdtest.Must(p.t, err)
	room, text, _ := strings.Cut(string(b), "\n")
	text, _, _ = strings.Cut(text, "\n")
	roomdtest.Must(p.t, json.Unmarshal([]byte(text), &line))
	return room, line
}

// enter says lines to a room and waits for the answer to entering.
func (p page) enter(room string, lines ...string) map[string]any {
	p.t.Helper()
	roomdtest.Must(p.t, p.Write(p.t.Context(), websocket.MessageText, []byte(strings.Join(append([]string{room}, lines...), "\n"))))
	for {
		if r, line := p.read(); r == room {
			return line
		}
	}
}

// ends waits for the end of the WebSocket.
func (p page) ends(with websocket.StatusCode) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := p.Read(ctx); err != nil {
			if websocket.CloseStatus(err) != with {
				p.t.Error(err)
			}
			return
		}
	}
}

func (p *process) url() string { return fmt.Sprintf("http://127.0.0.1:%d/", p.master) }

// The page is at the master port, beside the requests of the port's own.
func TestWeb(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	b := browser{t: t}
	if a, text := b.get(p.url()); a.StatusCode != 200 || !strings.Contains(text, `<base href="./">`) {
		t.Error(a.StatusCode, text)
	}
	if a, _ := b.get(p.url() + fmt.Sprint(p.first)); a.StatusCode != 302 || a.Header.Get("Location") != "r/lobby" {
		t.Error(a.StatusCode, a.Header)
	}
	if a, _ := b.get(p.url() + fmt.Sprint(p.first+9)); a.StatusCode != 404 {
		t.Error(a.StatusCode)
	}
	ann, _ := b.open(p.url())
	if _, hello := ann.read(); hello["type"] != "hello" || hello["title"] != "roomd" || hello["tls"] != nil && hello["tls"] != false {
		t.Error(hello)
	}
	if in := ann.enter("lobby", "hello"); in["type"] != "ok" || in["command"] != "enter" {
		t.Error(in)
	}
	eventually(t, "nc has the line", func() bool { return strings.Contains(p.nc(p.first, strings.NewReader("")), "hello\n") })
	if got := p.nc(p.master, strings.NewReader("LIST\n")); !strings.HasPrefix(got, "OK 1\nlobby ") {
		t.Error(got)
	}
	if d := p.doors(); len(d) != 1 || d[0].Name != "web" || !d[0].Master || d[0].Sessions != 1 || d[0].Members != 1 {
		t.Errorf("%+v", d)
	}
	// No port of a room is a page's.
	if got := p.nc(p.first, strings.NewReader("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")); strings.Contains(got, "<base") || strings.Contains(got, "GET /") {
		t.Error(got)
	}
	foreign := browser{t: t, headers: []string{"Host: chat.example.org"}}
	if a, text := foreign.get(p.url()); a.StatusCode != 403 || !strings.Contains(text, "web.hosts") {
		t.Error(a.StatusCode, text)
	}
	// New values are for requests from then on, and the page stays.
	p.configure("irc.listen = []", `web.hosts = ["chat.example.org"]`, `web.title = "Example"`)
	if got, errs := p.reload(); len(got) != 2 || errs != "" {
		t.Error(got, errs)
	}
	if a, _ := foreign.get(p.url()); a.StatusCode != 200 {
		t.Error(a.StatusCode)
	}
	bob, _ := b.open(p.url())
	if _, hello := bob.read(); hello["title"] != "Example" {
		t.Error(hello)
	}
	if in := ann.enter("lobby", "/ping"); in["type"] == "error" {
		t.Error(in)
	}
}

// Whatever a page of another site makes a browser do, it gets no WebSocket and no file.
func TestWebIsGuarded(t *testing.T) {
	p := newProcess(t, "")
	metrics := p.first + 38
	p.configure("irc.listen = []", fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", metrics))
	p.start()
	refused := 0.0
	own := fmt.Sprintf("Origin: http://127.0.0.1:%d", p.master)
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{own}, 101},
		{nil, 101}, // a program
		{[]string{"Origin: http://evil.example"}, 403},
		{[]string{"Origin: null"}, 403},
		{[]string{fmt.Sprintf("Origin: http://127.0.0.1:%d", p.first)}, 403},
		{[]string{"Host: evil.example", "Origin: http://evil.example"}, 403}, // a name with our address
		{[]string{own, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: websocket"}, 403},
		{[]string{"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Origin: https://evil.example"}, 403},
	} {
		if _, status := (browser{t: t, headers: c.headers}).open(p.url()); status != c.status {
			t.Errorf("%q: %d", c.headers, status)
		}
		if c.status == 403 {
			refused++
		}
	}
	script := browser{t: t, headers: []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"}}
	if a, _ := script.get(p.url() + "manifest.webmanifest"); a.StatusCode != 403 {
		t.Error(a.StatusCode)
	}
	if got := p.metrics(metrics)[`roomd_connections_refused_total{cause="origin"}`]; got != refused+1 {
		t.Errorf("%v refusals are counted, of %v", got, refused+1)
	}
	if !p.logged("cause=origin") {
		t.Error("the log has none of them")
	}
}

// A client behind a proxy of the list counts by its own address; a stranger cannot say that it is one.
func TestWebProxies(t *testing.T) {
	p := newProcess(t, "web.proxies = [\"127.0.0.9\"]\nweb.hosts = [\"chat.example.org\"]\nlimits.per_address = 2")
	p.start()
	for from, as := range map[string]string{"127.0.0.9": "192.0.2.7", "127.0.0.8": "127.0.0.8"} {
		b := browser{t: t, from: from, headers: []string{"X-Forwarded-For: 203.0.113.1, 192.0.2.7", "X-Forwarded-Proto: https", "Host: chat.example.org", "Origin: https://chat.example.org"}}
		ann, status := b.open(p.url())
		if status != 101 {
			t.Fatal(from, status)
		}
		ann.enter("lobby")
		if out, _, _ := p.admin("members", "lobby", "--json"); !strings.Contains(out, `"`+as+`:`) {
			t.Errorf("from %s: %s", from, out)
		}
		ann.CloseNow()
	}
	// A limit of connections is about them, too.
	var open []page
	for i := range 6 {
		b := browser{t: t, from: "127.0.0.9", headers: []string{fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", 10+i/2)}}
		ann, status := b.open(p.url())
		if status != 101 {
			t.Fatal(i, status)
		}
		ann.enter("lobby")
		open = append(open, ann)
	}
	over, _ := browser{t: t, from: "127.0.0.9", headers: []string{"X-Forwarded-For: 192.0.2.10"}}.open(p.url())
	over.ends(websocket.StatusPolicyViolation)
	for _, ann := range open {
		ann.CloseNow()
	}
	p.mustAdmin("ban", "192.0.2.7")
	b := browser{t: t, from: "127.0.0.9", headers: []string{"X-Forwarded-For: 192.0.2.7"}}
	ann, _ := b.open(p.url())
	ann.ends(websocket.StatusPolicyViolation)
	b.headers[0] = "X-Forwarded-For: 192.0.2.8"
	if _, status := b.open(p.url()); status != 101 {
		t.Error(status)
	}
}

// Requests of HTTP are charged to the address, and those of another address are served at once.
func TestWebRequestsAreLimited(t *testing.T) {
	p := newProcess(t, "limits.requests_per_second = 0.2\nlimits.rate_exempt = []\nweb.proxies = [\"127.0.0.9\"]") // one a second from an address, and ten at once
	p.start()
	as := func(client string) browser {
		return browser{t: t, from: "127.0.0.9", headers: []string{"X-Forwarded-For: " + client}}
	}
	var ok, refused atomic.Int64
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			switch a, _ := as("192.0.2.7").get(p.url()); a.StatusCode {
			case 200:
				ok.Add(1)
			case 429:
				refused.Add(1)
			default:
				t.Error(a.StatusCode)
			}
		})
	}
	eventually(t, "requests are refused", func() bool { return refused.Load() > 0 })
	if a, _ := as("192.0.2.8").get(p.url()); a.StatusCode != 200 {
		t.Error(a.StatusCode)
	}
	all.Wait()
	if ok.Load() < 10 || ok.Load() > 40 || ok.Load()+refused.Load() != 60 {
		t.Errorf("%d are served, %d refused", ok.Load(), refused.Load())
	}
}

// With TLS the page is one of https at the same port, and a browser that tries http is sent there. What
// else is plain is told of TLS as before.
func TestWebWithTLS(t *testing.T) {
	p := newProcess(t, "")
	writeKeyPair(t, p.dir, "roomd")
	p.configure("irc.listen = []", `tls.cert = "cert.pem"`, `tls.key = "key.pem"`)
	p.start()
	at := fmt.Sprintf("127.0.0.1:%d/", p.master)
	b := browser{t: t}
	if a, text := b.get("https://" + at); a.StatusCode != 200 || !strings.Contains(text, "<base") {
		t.Error(a.StatusCode, text)
	}
	if a, _ := b.get("http://" + at + "r/lobby?x=1"); a.StatusCode != 308 || a.Header.Get("Location") != "https://"+at+"r/lobby?x=1" {
		t.Error(a.StatusCode, a.Header)
	}
	if a, _ := (browser{t: t, headers: []string{"Host: evil.example"}}).get("http://" + at); a.StatusCode != 403 {
		t.Error(a.StatusCode)
	}
	if _, status := b.open("http://" + at); status != 308 {
		t.Error(status)
	}
	b.headers = []string{"Origin: https://" + strings.TrimSuffix(at, "/")}
	ann, status := b.open("https://" + at)
	if status != 101 {
		t.Fatal(status)
	}
	if _, hello := ann.read(); hello["tls"] != true {
		t.Error(hello)
	}
	if got := p.nc(p.master, strings.NewReader("LIST\n")); strings.Contains(got, "OK") {
		t.Errorf("plain text is answered: %q", got)
	}
	if got := p.nc(p.master, strings.NewReader("POST hello\nLIST\n")); strings.Contains(got, "OK") {
		t.Errorf("plain text that begins like HTTP is answered: %q", got)
	}
	if a, _ := b.get(fmt.Sprintf("http://127.0.0.1:%d/", p.first)); a.StatusCode != 400 {
		t.Error(a.StatusCode)
	}
}

// The page may have an address of its own, and there may be none: then HTTP is refused as other
// protocols are.
func TestWebElsewhere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	roomdtest.Must(t, err)
	defer ln.Close()
	at := ln.Addr().String()
	p := newProcess(t, fmt.Sprintf("web.listen = %q", at))
	if out, errs, status := checked(t, t.TempDir(), fmt.Sprintf("web.listen = %q", at)); status != exitOK || !strings.Contains(out, "warning: web.listen: ") || !strings.Contains(out, "http://localhost:") {
		t.Error(out, errs)
	}
	p.start()
	if d := p.doors(); len(d) != 1 || d[0].Master || len(d[0].Unbound) != 1 {
		t.Errorf("%+v", d)
	}
	ln.Close()
	eventually(t, "the page is open", func() bool { return len(p.doors()[0].Listening) == 1 })
	b := browser{t: t}
	if a, _ := b.get("http://" + at + "/r/lobby"); a.StatusCode != 200 {
		t.Error(a.StatusCode)
	}
	if _, status := b.open("http://" + at + "/"); status != 101 {
		t.Error(status)
	}
	if a, _ := b.get(p.url()); a.StatusCode != 400 {
		t.Error(a.StatusCode)
	}
	roomdtest.Must(t, p.kill(syscall.SIGTERM))
	p.configure("irc.listen = []", `web.listen = ""`)
	p.start()
	if d := p.doors(); len(d) != 0 {
		t.Errorf("%+v", d)
	}
	if a, text := b.get(p.url()); a.StatusCode != 400 || !strings.Contains(text, "nc") {
		t.Error(a.StatusCode, text)
	}
	if out, status := p.tool("check", "--config", filepath.Join(p.dir, "config.toml")); status != exitOK || strings.Contains(out, "  page  ") {
		t.Error(out)
	}
}

// Half requests, huge ones and those in other forms of HTTP at the master port do no harm to others,
// and end.
func TestWebWithRawRequests(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	half := "GET / HTTP/1.1\r\nHost: localhost\r\n"
	begin := func(request string) *bufio.Reader {
		c := p.dial(p.master)
		c.SetDeadline(time.Now().Add(2 * patience))
		io.WriteString(c, request)
		return bufio.NewReader(c)
	}
	var halves []*bufio.Reader
	for range 300 {
		halves = append(halves, begin(half))
	}
	for request, want := range map[string]int{
		half + "\r\n": 200,
		"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n":                200,
		"GET / HTTP/1.0\r\n\r\n":                                   400,
		"GET /\r\n":                                                400,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                         505,
		"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nLIST\r\n":       405,
		half + "X: " + strings.Repeat("x", 64<<10) + "\r\n\r\n":    431,
		"GET /r/..%2f HTTP/1.1\r\nHost: localhost\r\n\r\n":         404,
		"GET //evil.example HTTP/1.1\r\nHost: localhost\r\n\r\n":   404,
		"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n":             404,
		"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n":             403,
		"GET /" + strings.Repeat("x", 8<<10) + " HTTP/1.1\r\n\r\n": 400, // the line is longer than one of ours
	} {
		a, err := http.ReadResponse(begin(request), nil)
		if err != nil || a.StatusCode != want {
			t.Errorf("%.40q: %v %v", request, a, err)
		}
	}
	if got := p.nc(p.master, strings.NewReader("LIST\nCREATE dev\n")); !strings.HasPrefix(got, "OK 1\n") || !strings.Contains(got, "\nOK dev ") {
		t.Error(got)
	}
	// Other protocols are told what this is, as without a page.
	for first, answer := range map[string]string{
		"SSH-2.0-OpenSSH_9.2\r\n": "ERR bad-request ", "*1\r\n$4\r\nPING\r\n": "-ERR ", "OPTIONS sip:a SIP/2.0\r\n": "ERR bad-request ", "\x16\x03\x01\x00\x05\x01\x00\n": "\x15\x03",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n": "ERR bad-request ",
	} {
		if got := p.nc(p.master, strings.NewReader(first)); !strings.HasPrefix(got, answer) {
			t.Errorf("%q: %q", first, got)
		}
	}
	// A request of HTTP is never one of ours, wherever it stands.
	if got := p.nc(p.master, strings.NewReader("LIST\nGET / HTTP/1.1\nLIST\n")); strings.Count(got, "OK 2\n") != 2 || !strings.Contains(got, "ERR ") {
		t.Error(got)
	}
	for _, h := range halves {
		if _, err := io.Copy(io.Discard, h); err != nil {
			t.Fatal(err)
		}
	}
}
