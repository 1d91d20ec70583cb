package netsvctest

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/store"
)

// Server is a service on 127.0.0.1 that a test can stop and start again.
type Server struct {
	T testing.TB

	// For the next Start.
	Path         string // of the database
	Options      netsvc.Options
	StoreOptions store.Options

	Store   *store.Store    // of the last Start
	Service *netsvc.Service // nil: it is not running

	// Stopped, if it is set, is called after the service has stopped, and before the database
	// is closed.
	Stopped func()
}

// New returns a server with an empty database. The server is stopped when the test ends.
func New(t testing.TB, o netsvc.Options) *Server {
	s := &Server{T: t, Path: filepath.Join(t.TempDir(), "roomd.db"), Options: o, StoreOptions: store.Options{Retention: store.Retention{Lines: 100000, Trash: time.Hour}}}
	t.Cleanup(s.Stop)
	return s
}

// Options returns the defaults of config.toml, for rooms on the n ports from first on, and a master
// port that the system chooses. The log is discarded.
func Options(first, n int) netsvc.Options {
	return netsvc.Options{
		Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Ports: [2]int{first, first + n - 1},
		MaxRooms: 64, Replay: 20, QuietAbove: 50, MaxMembers: 256, MaxConnections: 10000, LineBytes: 4096, MaxLag: 100000,
		DeadPeer: time.Minute, MasterIdle: 5 * time.Minute, CreateAnyone: true, Delete: netsvc.Anyone,
		Log: slog.New(slog.DiscardHandler),
	}
}

// Start starts the server.
func (s *Server) Start() {
	s.T.Helper()
	if err := s.TryStart(); err != nil {
		s.T.Fatal(err)
	}
}

// TryStart is Start for a server that may fail to bind a port. Then Stop must follow.
func (s *Server) TryStart() error {
	s.T.Helper()
	st, err := store.Open(s.Path, s.StoreOptions)
	if err != nil {
		s.T.Fatal(err)
	}
	s.Store, s.Service = st, netsvc.New(st, s.Options)
	return s.Service.Start()
}

// Stop stops the server, if it is running, and checks its database.
func (s *Server) Stop() {
	if s.Service == nil {
		return
	}
	s.Service.Stop()
	s.Service = nil
	if s.Stopped != nil {
		s.Stopped()
	}
	if err := s.Store.Check(); err != nil {
		s.T.Error(err)
	}
	if err := s.Store.Close(); err != nil {
		s.T.Error(err)
	}
}

// Create creates a room and returns its port.
func (s *Server) Create(name string) int {
	s.T.Helper()
	info, _, err := s.Service.Create(name, netsvc.Creation{})
	if err != nil {
		s.T.Fatal(err)
	}
	return info.Port
}

// Room returns the room of a name, as LIST shows it.
func (s *Server) Room(name string) netsvc.RoomInfo {
	s.T.Helper()
	for _, i := range s.Service.List() {
		if i.Name == name {
			return i
		}
	}
	s.T.Fatal("no room ", name)
	panic("unreachable")
}
