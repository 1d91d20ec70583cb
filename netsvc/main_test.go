package netsvc_test

import (
	"crypto/x509"
	"net"
	"testing"

	"go.uber.org/goleak"

	"roomd/netsvc/netsvctest"
	"roomd/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nextPort hands out ranges for rooms, below the kernel's ephemeral ports.
var nextPort = netsvctest.NewPorts(9500, 13000)

const patience = netsvctest.Patience

var eventually = netsvctest.Eventually

// server is a running service that a test can end and start again.
type server struct {
	*netsvctest.Server
	roots *x509.CertPool // set by secure
}

// newServer prepares a server with the defaults of config.toml.
func newServer(t testing.TB) *server {
	return &server{Server: netsvctest.New(t, netsvctest.Options(int(nextPort.Take(40))-40, 40))}
}

// engines runs a test on a server with event loops, and on one that serves
// connections as they are served where there are none.
func engines(t *testing.T, test func(*testing.T, *server)) {
	for name, portable := range map[string]bool{"loops": false, "goroutines": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.Options.Portable = portable
			test(t, s)
		})
	}
}

// ports gives the rooms a range of n ports.
func (s *server) ports(n int) {
	end := int(nextPort.Take(int64(n)))
	s.Options.Ports = [2]int{end - n, end - 1}
}

// startServer is newServer, started.
func startServer(t testing.TB) *server {
	s := newServer(t)
	s.Start()
	return s
}

// startFails is Start for a server that cannot; the store is the caller's.
func (s *server) startFails() *store.Store {
	s.T.Helper()
	if err := s.TryStart(); err == nil {
		s.T.Fatal("it starts")
	}
	s.Service.Stop()
	s.Service = nil
	return s.Store
}

func (s *server) members(name string) int {
	for _, i := range s.Service.List() {
		if i.Name == name {
			return i.Members
		}
	}
	return -1
}

// said is every line of a room's history.
func (s *server) said(room string) (texts []string) {
	s.T.Helper()
	lines, _, err := s.Service.Lines(s.T.Context(), room, 0, 100000)
	if err != nil {
		s.T.Fatal(err)
	}
	for _, l := range lines {
		texts = append(texts, l.Text)
	}
	return texts
}

// peer is a client of either port.
type peer struct{ *netsvctest.Client }

func dial(t testing.TB, port int) *peer { t.Helper(); return &peer{netsvctest.Dial(t, port)} }

func join(t testing.TB, port int) *peer { t.Helper(); return &peer{netsvctest.Join(t, port)} }

func newPeer(t testing.TB, c *net.TCPConn) *peer { return &peer{netsvctest.NewClient(t, c)} }
