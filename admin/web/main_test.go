package web_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/admin"
	"roomd/admin/web"
	"roomd/netsvc/netsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var nextPort = netsvctest.NewPorts(13500, 14000)

// operator is a server with its admin socket, and an operator's page of it.
type operator struct {
	*netsvctest.Server
	socket string
	ln     *admin.Listener
	tap    *admin.Tap

	page  *web.Page
	stop  context.CancelFunc
	ended chan error
	at    string // http://127.0.0.1:PORT
	token string
}

// startServer starts a server without a page.
func startServer(t testing.TB) *operator {
	o := &operator{Server: netsvctest.New(t, netsvctest.Options(int(nextPort.Take(20))-20, 20))}
	o.socket = filepath.Join(filepath.Dir(o.Path), "roomd.sock")
	o.Options.MaxRooms = 10
	o.Stopped = func() {
		if err := o.ln.Close(); err != nil {
			t.Error(err)
		}
	}
	o.serve()
	return o
}

// serve starts the server, or starts it again.
func (o *operator) serve() {
	o.T.Helper()
	o.tap = admin.NewTap(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}), slog.LevelInfo)
	o.Options.Log = slog.New(o.tap)
	o.Server.Start()
	srv := &admin.Server{Service: o.Service, Store: o.Store, Log: o.tap, Version: "test", Database: o.Path,
		Stop: func() {}, Program: func(binary string, _ bool) (string, string, error) { return binary, "1234", nil },
		Reload:     func(bool) ([]admin.Change, error) { return nil, nil },
		Upgrade:    func(context.Context, string, bool) (admin.Upgrade, error) { return admin.Upgrade{}, nil },
		LogDropped: func() (uint64, time.Duration) { return 0, 0 }, Certificate: func() *admin.Certificate { return nil }, Files: func() []string { return nil },
		Addresses: func() (string, string) { return "", "" }, Config: func() []admin.Setting { return nil }}
	var err error
	if o.ln, err = srv.Listen(o.socket, 0o600); err != nil {
		o.T.Fatal(err)
	}
}

// start starts a server with a page.
func start(t testing.TB, options web.Options) *operator {
	t.Helper()
	o := startServer(t)
	o.open(options)
	return o
}

// open serves a page.
func (o *operator) open(options web.Options) {
	o.T.Helper()
	options.Socket = o.socket
	page, err := web.Open(options)
	if err != nil {
		o.T.Fatal(err)
	}
	u, err := url.Parse(page.URL())
	if err != nil {
		o.T.Fatal(err)
	}
	o.page, o.at, o.token, o.ended = page, "http://"+u.Host, u.Fragment, make(chan error, 1)
	var ctx context.Context
	ctx, o.stop = context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.ended <- page.Run(ctx)
	}()
	o.T.Cleanup(func() {
		o.stop()
		<-done
	})
}

// browser is a browser that has used the link, or not yet.
type browser struct {
	o      *operator
	cookie string
	path   string
}

// enter uses the link.
func (o *operator) enter() *browser {
	o.T.Helper()
	b := &browser{o: o}
	res, text := b.post("/session", `{"token":"`+o.token+`"}`, nil)
	if res.StatusCode != http.StatusOK {
		o.T.Fatal(res.Status, text)
	}
	var said struct{ Path string }
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		o.T.Fatal(err)
	}
	c := res.Cookies()[0]
	b.cookie, b.path = c.Name+"="+c.Value, said.Path
	return b
}

// client asks no proxy, and keeps no connection.
var client = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// send makes a request, with these headers instead of the ones that a browser sends.
func (b *browser) send(ctx context.Context, method, path, body string, headers map[string]string) *http.Response {
	b.o.T.Helper()
	req, err := http.NewRequestWithContext(ctx, method, b.o.at+path, strings.NewReader(body))
	if err != nil {
		b.o.T.Fatal(err)
	}
	all := map[string]string{"Sec-Fetch-Site": "same-origin", "Cookie": b.cookie}
	if method == http.MethodPost {
		all["Origin"], all["Content-Type"] = b.o.at, "application/json"
	}
	for name, v := range headers {
		all[name] = v
	}
	for name, v := range all {
		if name == "Host" {
			req.Host = v
		} else if v != "" {
			req.Header.Set(name, v)
		}
	}
	res, err := client.Do(req)
	if err != nil {
		b.o.T.Fatal(err)
	}
	return res
}

func (b *browser) all(method, path, body string, headers map[string]string) (*http.Response, string) {
	b.o.T.Helper()
	res := b.send(context.Background(), method, path, body, headers)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.o.T.Fatal(err)
	}
	return res, string(text)
}

func (b *browser) get(path string, headers map[string]string) (*http.Response, string) {
	b.o.T.Helper()
	return b.all(http.MethodGet, path, "", headers)
}

func (b *browser) post(path, body string, headers map[string]string) (*http.Response, string) {
	b.o.T.Helper()
	return b.all(http.MethodPost, path, body, headers)
}

// answer is the answer to a command.
type answer struct {
	Verdict, Code, Text string
	Lines               []string
}

// run gives a command.
func (b *browser) run(line string, more ...string) (a answer) {
	b.o.T.Helper()
	req := map[string]string{"line": line}
	for i := 0; i+1 < len(more); i += 2 {
		req[more[i]] = more[i+1]
	}
	body, err := json.Marshal(req)
	if err != nil {
		b.o.T.Fatal(err)
	}
	_, text := b.post(b.path+"run", string(body), nil)
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		b.o.T.Fatalf("%s: %q: %v", line, text, err)
	}
	return a
}

// ok gives a command that is carried out.
func (b *browser) ok(line string, more ...string) answer {
	b.o.T.Helper()
	a := b.run(line, more...)
	if a.Verdict != "OK" {
		b.o.T.Fatalf("%s: %+v", line, a)
	}
	return a
}

// message is a value of the stream.
type message struct {
	Kind    string
	Samples []map[string]any
	Values  []map[string]any
	Here    bool
	Text    string
	Line    string
	Note    string
	Verdict string
	Hello   *struct {
		User, Socket string
		ReadOnly     bool `json:"read_only"`
	}
}

// follow reads a stream of events until the test ends.
func (b *browser) follow(path string) *events {
	b.o.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*netsvctest.Patience)
	res := b.send(ctx, http.MethodGet, b.path+path, "", nil)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		b.o.T.Fatal(res.Status, res.Header)
	}
	b.o.T.Cleanup(func() {
		cancel()
		res.Body.Close()
	})
	return &events{b.o.T, bufio.NewReader(res.Body), func() {
		cancel()
		res.Body.Close()
	}}
}

type events struct {
	t    testing.TB
	in   *bufio.Reader
	stop func()
}

// next reads the next message.
func (e *events) next() (m message, err error) {
	for {
		l, err := e.in.ReadBytes('\n')
		if err != nil {
			return m, err
		}
		if data, ok := bytes.CutPrefix(l, []byte("data: ")); ok {
			return m, json.Unmarshal(data, &m)
		}
	}
}

// until reads on to a message that fits.
func (e *events) until(what string, fits func(message) bool) message {
	e.t.Helper()
	for {
		m, err := e.next()
		if err != nil {
			e.t.Fatalf("waiting for %s: %v", what, err)
		}
		if fits(m) {
			return m
		}
	}
}
