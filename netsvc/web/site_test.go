package web

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// serveSite serves the page itself on loopback, with a WebSocket that says who came.
func serveSite(t *testing.T, a access) (addr string) {
	t.Helper()
	h, err := newSite(func() access { return a }, func(port int) (string, bool) { return "lobby", port == 9000 }, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "socket of "+requestOrigin(r).client.Addr().String())
	}))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(h, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { s.Serve(ln); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
	return ln.Addr().String()
}

func TestSite(t *testing.T) {
	at := "http://" + serveSite(t, access{})
	if a, text := ask(t, "GET", at+"/r/lobby"); a.StatusCode != 200 || !strings.Contains(text, baseAbove) {
		t.Error(a.StatusCode, text)
	}
	if a, text := ask(t, "GET", at+"/ws"); a.StatusCode != 200 || text != "socket of 127.0.0.1" {
		t.Error(a.StatusCode, text)
	}
	if a, _ := ask(t, "GET", at+"/ws", "Origin: http://evil.example"); a.StatusCode != 403 {
		t.Error(a.StatusCode)
	}
	if a, _ := ask(t, "GET", at+"/9000"); a.Header.Get("Location") != "r/lobby" {
		t.Error(a.Header)
	}
}

// secured is a listener whose connections say that TLS is beneath them.
type secured struct{ net.Listener }

type securedConn struct{ net.Conn }

func (l secured) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return securedConn{c}, err
}

func (securedConn) IsTLS() bool { return true }

// By TLS the origin is one of https.
func TestSiteByTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	h, err := newSite(func() access { return access{tls: true} }, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, requestOrigin(r).secure)
	}))
	if err != nil {
		t.Fatal(err)
	}
	s.Listener, s.Config = secured{s.Listener}, newServer(h, slog.New(slog.DiscardHandler))
	s.Start()
	defer s.Close()
	host := s.Listener.Addr().String()
	if a, text := ask(t, "GET", s.URL+"/ws", "Origin: https://"+host); a.StatusCode != 200 || text != "true" {
		t.Error(a.StatusCode, text)
	}
	if a, _ := ask(t, "GET", s.URL+"/ws", "Origin: http://"+host); a.StatusCode != 403 {
		t.Error(a.StatusCode)
	}
}

// Clients that never come to the point are ended in time, with an answer where HTTP has one, while
// others are served.
func TestSiteIsBounded(t *testing.T) {
	at := serveSite(t, access{})
	half := "GET / HTTP/1.1\r\nHost: localhost\r\n"
	huge := half + "X: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"
	many := half + strings.Repeat("X-Y: z\r\n", 8<<10) + "\r\n"
	var all sync.WaitGroup
	begin := func(name, request string, drip time.Duration, want int) {
		all.Go(func() {
			c, err := net.Dial("tcp", at)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(3 * headerTimeout))
			io.WriteString(c, request) // the server may answer and close before it has read all
			if drip > 0 {
				stop := time.NewTicker(drip)
				defer stop.Stop()
				done := make(chan struct{})
				defer close(done)
				go func() {
					for {
						select {
						case <-stop.C:
							io.WriteString(c, "X: y\r\n") // until it is closed
						case <-done:
							return
						}
					}
				}()
			}
			b := bufio.NewReader(c)
			a, err := http.ReadResponse(b, nil)
			switch {
			case want == 0 && a == nil:
			case err != nil || a.StatusCode != want:
				t.Errorf("%s: %v %v", name, a, err)
				return
			}
			if _, err := io.Copy(io.Discard, b); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("%s: the connection stays open: %v", name, err)
			}
		})
	}
	for i := range 200 {
		begin("half a request "+strconv.Itoa(i), half, 0, 0)
	}
	begin("a header that drips", half, 50*time.Millisecond, 0)
	begin("a huge header", huge, 0, http.StatusRequestHeaderFieldsTooLarge)
	begin("many headers", many, 0, http.StatusRequestHeaderFieldsTooLarge)
	begin("a body that does not come", half+"Content-Length: 10\r\n\r\n", 0, http.StatusOK)
	begin("a body that does not end", half+"Transfer-Encoding: chunked\r\n\r\n", 0, http.StatusOK)
	begin("silence after a request", half+"\r\n", 0, http.StatusOK)
	if a, _ := ask(t, "GET", "http://"+at+"/"); a.StatusCode != 200 {
		t.Error(a.StatusCode)
	}
	all.Wait()
}
