package netsvc_test

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/netsvc"
	"roomd/netsvc/testports"
	"roomd/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nextPort hands out ranges for rooms, below the kernel's ephemeral ports.
var nextPort = testports.New(9500, 13000)

const patience = 20 * time.Second // for what must happen; generous, as machines are slow

// server is a running service that a test can end and start again.
type server struct {
	t      testing.TB
	path   string
	opts   netsvc.Options
	stOpts store.Options
	log    *bytes.Buffer

	st  *store.Store
	svc *netsvc.Service

	roots *x509.CertPool // set by secure
}

// newServer prepares a server with the defaults of config.toml.
func newServer(t testing.TB) *server {
	first := int(nextPort.Add(40)) - 40
	s := &server{
		t: t, path: filepath.Join(t.TempDir(), "roomd.db"), log: new(bytes.Buffer),
		stOpts: store.Options{Lines: 100000, Trash: time.Hour},
		opts: netsvc.Options{
			Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Ports: [2]int{first, first + 39},
			Rooms: 64, Replay: 20, QuietAbove: 50, Members: 256, Connections: 10000, LineBytes: 4096,
			MaxLag: 100000, DeadPeer: time.Minute, MasterIdle: 5 * time.Minute, CreateAnyone: true, Delete: netsvc.Anyone,
		},
	}
	t.Cleanup(s.stop)
	return s
}

// engines runs a test on a server with event loops, and on one that serves
// connections as they are served where there are none.
func engines(t *testing.T, test func(*testing.T, *server)) {
	for name, portable := range map[string]bool{"loops": false, "goroutines": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.opts.Portable = portable
			test(t, s)
		})
	}
}

// ports gives the rooms a range of n ports.
func (s *server) ports(n int) {
	end := int(nextPort.Add(int64(n)))
	s.opts.Ports = [2]int{end - n, end - 1}
}

// startServer is newServer, started.
func startServer(t testing.TB) *server {
	s := newServer(t)
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	st, err := store.Open(s.path, s.stOpts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.st = st
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	s.svc = netsvc.New(st, s.opts)
	if err := s.svc.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// startFails is start for a server that cannot; the store is the caller's.
func (s *server) startFails() *store.Store {
	s.t.Helper()
	st, err := store.Open(s.path, s.stOpts)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	svc := netsvc.New(st, s.opts)
	if err := svc.Start(); err == nil {
		s.t.Fatal("it starts")
	}
	svc.Stop()
	return st
}

// stop ends the service and checks what it leaves on disk.
func (s *server) stop() {
	if s.svc == nil {
		return
	}
	s.svc.Stop()
	s.svc = nil
	if err := s.st.Check(); err != nil {
		s.t.Error(err)
	}
	if err := s.st.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *server) create(name string) int {
	s.t.Helper()
	info, _, err := s.svc.Create(name, netsvc.Creation{})
	if err != nil {
		s.t.Fatal(err)
	}
	return info.Port
}

func (s *server) members(name string) int {
	for _, i := range s.svc.List() {
		if i.Name == name {
			return i.Members
		}
	}
	return -1
}

// said is every line of a room's history.
func (s *server) said(room string) (texts []string) {
	s.t.Helper()
	lines, _, err := s.svc.Lines(s.t.Context(), room, 0, 100000)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range lines {
		texts = append(texts, l.Text)
	}
	return texts
}

// peer is a client of either port: lines out, lines in.
type peer struct {
	t    testing.TB
	conn interface {
		net.Conn
		CloseWrite() error
	}
	tcp *net.TCPConn // conn, or what is beneath
	in  *bufio.Reader
}

func dial(t testing.TB, port int) *peer {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newPeer(t, c.(*net.TCPConn))
}

func newPeer(t testing.TB, c *net.TCPConn) *peer {
	return &peer{t: t, conn: c, tcp: c, in: bufio.NewReader(c)}
}

// join connects to a room, and has the room told of it at once, by a word to
// itself.
func join(t testing.TB, port int) *peer {
	t.Helper()
	p := dial(t, port)
	hello := p.line()
	_, nick, _ := strings.Cut(hello, "you are ")
	nick, _, _ = strings.Cut(nick, " ")
	if !strings.Contains(hello, "here, you are ") {
		t.Fatalf("greeted with %q", hello)
	}
	p.send("/msg " + nick + " here")
	p.until("<" + nick + " -> " + nick + "> here")
	return p
}

func (p *peer) send(lines ...string) {
	p.t.Helper()
	p.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(p.conn, strings.Join(lines, "\n")+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// line reads the next line.
func (p *peer) line() string {
	p.t.Helper()
	l, err := p.next()
	if err != nil {
		p.t.Fatalf("reading a line: %v (%q)", err, l)
	}
	return l
}

func (p *peer) next() (string, error) {
	p.conn.SetReadDeadline(time.Now().Add(patience))
	l, err := p.in.ReadString('\n')
	return strings.TrimSuffix(l, "\n"), err
}

// expect reads the next lines and compares.
func (p *peer) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		if got := p.line(); got != w {
			p.t.Fatalf("got  %q\nwant %q", got, w)
		}
	}
}

// until reads on until a line with that prefix, and returns it.
func (p *peer) until(prefix string) string {
	p.t.Helper()
	for {
		if l := p.line(); strings.HasPrefix(l, prefix) {
			return l
		}
	}
}

// end expects that the connection was closed in good order.
func (p *peer) end() {
	p.t.Helper()
	if l, err := p.next(); err != io.EOF {
		p.t.Fatalf("the connection goes on: %q, %v", l, err)
	}
}

func (p *peer) halfClose() { p.conn.CloseWrite() }

// reset vanishes without a word.
func (p *peer) reset() {
	p.tcp.SetLinger(0)
	p.tcp.Close()
}

// eventually waits for what other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
