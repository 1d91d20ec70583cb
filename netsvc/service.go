package netsvc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/limit"
	"roomd/netsvc/passwd"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Policy says who may delete a room.
type Policy string

const (
	Anyone   Policy = "anyone"
	Creator  Policy = "creator"  // the connection that created it, or one that has its key
	Operator Policy = "operator" // nobody on the network
)

// Options are read once, by New. All fields must be set, as there are no
// defaults here: they are those of the configuration.
type Options struct {
	Listen      []netip.Addr // addresses of the master port and of every room
	Port        int          // the master port; 0: the system chooses
	MasterFDs   []int        // descriptors that listen on the master port already, for Start; none: it is to be opened
	MasterGiven bool         // the master port was given as descriptors, and stays as it is when options change
	// PortOffset is added to the ports that the master port names: clients connect to those,
	// and what is in between (a container's mapping, NAT) to ours.
	PortOffset int
	// Proxies are addresses whose connections begin with a header of the PROXY protocol:
	// limits and bans hold for the client that it names.
	Proxies        []netip.Prefix
	Ports          [2]int   // first and last port for rooms
	FirstRooms     []string // rooms that Start makes if the store never had one
	MaxRooms       int      // rooms at most; 0: no limit
	Replay         int      // earlier lines that a new member is shown; 0: none
	QuietAbove     int      // members; above it join and leave lines are left out of the text
	MaxMembers     int      // in one room, at most; 0: no limit
	MaxConnections int      // in all, at most; 0: no limit
	MaxPerAddress  int      // from one address (IPv6: one /64), at most; 0: no limit
	LineBytes      int      // of a line without its ending, at most
	MaxLag         int      // lines a member may be behind; 0: no limit

	Rates

	DeadPeer   time.Duration
	MasterIdle time.Duration // 0: no limit
	// Certificate is what newcomers are shown, on every port (see
	// tls.Config.GetCertificate). nil: connections are plain.
	Certificate  func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	CreateAnyone bool // else CREATE is refused
	Delete       Policy
	Log          *slog.Logger

	// Portable serves plain connections with goroutines, as it is done on
	// systems where event loops are not to be had.
	Portable bool
}

// Rates are how often clients may connect, ask and speak.
type Rates struct {
	ConnectRate    float64        // connections a second from one address; 0: no limit
	RequestRate    float64        // requests a second of a master connection; an address has five times that; 0: no limit
	RateExempt     []netip.Prefix // addresses that none of these holds for
	LinesPerSecond float64        // a member's allowance: beyond it, it is read more slowly; 0: no limit
	Burst          int            // lines that it may say at once before that counts; 0: no limit
}

// limitsLines reports whether a member that says much is read more slowly.
func (r *Rates) limitsLines() bool { return r.LinesPerSecond > 0 && r.Burst > 0 }

// Service is the running server. Its methods may be called from any goroutine.
type Service struct {
	// Set by New, then read-only.
	log    *slog.Logger
	store  *store.Store
	engine *transport.Engine
	tls    *tls.Config

	options atomic.Pointer[Options]            // replaced as a whole, never written to
	master  atomic.Pointer[transport.Endpoint] // replaced by Change.Commit

	// Set by Start, then read-only.
	started  time.Time
	withheld []int // ports of rooms that are damaged, and not here

	directory
	limits
	tallies
	shutdown
	healthCheck

	queue    admissionQueue
	upgrade  upgrade
	watchers watcherList
	logs     *roomlog.Budget
	logQueue taskQueue     // lines of the log
	sweeping chan struct{} // capacity 1: something was written

	reconfiguring sync.Mutex // held from Prepare to Commit or Undo, and while settle is at work

	// Owned by the store's committer.
	touched []*Room
}

// directory is what is here, and by which names and ports it is found. mu guards all of it.
type directory struct {
	mu             sync.Mutex
	rooms          map[string]*Room // by folded name, those opening and closing included
	ids            map[uint64]*Room // by ID, those that are not deleted
	draining       map[*Room]bool   // are deleted, and not gone, and another one has the name already
	ports          portQueue
	masterSessions map[*masterSession]bool // connections to the master port, until they are closed
	stopping       bool

	missing        map[netip.Addr]string // addresses of Options.Listen that are not listened on everywhere, and why
	reconciling    bool                  // the goroutine that brings the ports to the addresses is there
	reconcileAgain bool                  // it has something to do
}

// limits is what the connections of the whole server have used of what they may. Each
// has a lock of its own, or needs none.
type limits struct {
	conns       limit.Conns // of all kinds
	connects    limit.Buckets
	requests    limit.Buckets
	commands    limit.Buckets // what members ask for
	guesses     passwd.Guesses
	bans        atomic.Pointer[banList] // read at every join, replaced as a whole
	insertBytes atomic.Int64            // bytes of inserts that wait for members
	diskReaders chan struct{}           // one place for each that may read from the disk at a time
}

// tallies count those that came, for their IDs and for Inconsistencies, and what happened.
type tallies struct {
	sessions     atomic.Uint64 // master connections so far
	members      atomic.Uint64 // member IDs given
	inTransition atomic.Int64  // connections that are a session or a member in a moment, and in no list
	// uncounted are members that came and did not end here: their connections could
	// not be begun, or stayed with the process before.
	uncounted atomic.Uint64
	counters  counters
}

// shutdown is what Stop ends, and what goroutines learn of it by.
type shutdown struct {
	stopRequested chan struct{}   // closed when Stop begins
	stop          context.Context // done when what clients sent before they closed is handled
	cancelStop    context.CancelFunc
	tasks         sync.WaitGroup // all goroutines but those of rooms
}

// healthCheck is Health's: all that ask at a time wait for one goroutine.
type healthCheck struct {
	healthMu   sync.Mutex    // guards look
	healthDone chan struct{} // closed when Health has had every lock; nil: it is not at it
}

// New makes a server over a store that has been opened and not yet started.
func New(st *store.Store, opts Options) *Service {
	s := &Service{
		log: opts.Log, store: st, logs: roomlog.NewBudget(allLogs), sweeping: make(chan struct{}, 1),
		directory: directory{
			rooms: make(map[string]*Room), ids: make(map[uint64]*Room), draining: make(map[*Room]bool),
			masterSessions: make(map[*masterSession]bool), missing: make(map[netip.Addr]string),
		},
	}
	s.options.Store(&opts)
	s.stopRequested = make(chan struct{})
	s.diskReaders = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))
	s.counters.ended = make(map[Cause]uint64)
	for _, c := range causes {
		s.counters.ended[c] = 0
	}
	s.tls = s.tlsConfig()
	s.counters.refusals = make(map[RefusalReason]uint64)
	for _, r := range refusalReasons {
		s.counters.refusals[r] = 0
	}
	s.counters.tls = make(map[string]uint64)
	for _, f := range tlsFailures {
		s.counters.tls[f] = 0
	}
	s.counters.sessions = make(map[Cause]uint64)
	for _, c := range sessionCauses {
		s.counters.sessions[c] = 0
	}
	s.counters.foreignConns = make(map[wire.Protocol]uint64)
	for _, p := range wire.Protocols {
		s.counters.foreignConns[p] = 0
	}
	s.stop, s.cancelStop = context.WithCancel(context.Background())
	s.engine = transport.New(transport.Options{
		Portable: opts.Portable, Log: opts.Log, MaxRead: s.maxRead,
		DeadPeer:         func() time.Duration { return s.opts().DeadPeer },
		Accepted:         func() { s.counters.accepted.Add(1) },
		OutOfDescriptors: func() { s.counters.countRefusal(refusedDescriptors) },
	})
	return s
}

// opts are the options in effect. What belongs together is read from one call.
func (s *Service) opts() *Options { return s.options.Load() }

// Start binds every room of the store, or makes the first ones, and then opens the
// master port. When it
// returns nil every room is bound, or known to be unbound and being retried.
// After an error the service must be stopped, too.
func (s *Service) Start() error {
	rooms, err := s.load()
	if err != nil {
		return err
	}
	if err := s.engine.Run(); err != nil {
		return err
	}
	s.bindAll(rooms)
	if err := s.createFirst(); err != nil {
		return err
	}
	master, err := s.listenMaster()
	if err != nil {
		return err
	}
	s.master.Store(master)
	s.tasks.Go(s.detectDeadPeers)
	return master.Open(s.admitMaster, busyReply)
}

// load opens the loops, reads what the store knows and follows it from then on.
func (s *Service) load() (rooms []*Room, err error) {
	s.started = time.Now().UTC()
	if err := s.engine.Open(); err != nil {
		return nil, err
	}
	if err := s.loadBans(); err != nil {
		return nil, err
	}
	kept, err := s.store.Rooms()
	if err != nil {
		return nil, fmt.Errorf("read the rooms: %w", err)
	}
	resting, err := s.store.ReleasedPorts()
	if err != nil {
		return nil, fmt.Errorf("read the ports: %w", err)
	}
	s.withheld = s.store.SkippedPorts()
	used := map[int]bool{s.opts().Port: true}
	for _, p := range s.withheld {
		used[p] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range kept {
		used[k.Port] = true
		st, err := s.store.Stat(k.ID)
		if err != nil {
			return nil, fmt.Errorf("read the room %s: %w", k.Name, err)
		}
		rooms = append(rooms, s.register(k, st.Last))
	}
	s.ports = newPortQueue(s.opts().Ports[0], s.opts().Ports[1], used, resting)
	s.store.Start(s.follower())
	return rooms, nil
}

// uptime is the time since Start. Clocks that are set do not change it.
func (s *Service) uptime() time.Duration { return time.Since(s.started) }

// Port is the master port, after Start.
func (s *Service) Port() int { return s.master.Load().Port }

// Stop ends everything: what clients sent who have closed since is handled, for a
// few seconds at most, the master port is closed, what members have sent is committed, they are told, get what is pending (a stuck one for at most a few
// seconds), and their sockets close. The store is the caller's to close.
func (s *Service) Stop() {
	s.awaitInput()
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.cancelStop()
	for _, v := range s.nonMembers() {
		v.terminate()
	}
	if master := s.master.Load(); master != nil {
		master.DrainAndClose()
	}
	// What was submitted stands before the farewell. If the store refuses,
	// each sender has been told.
	if err := s.store.Flush(); err != nil && !errors.Is(err, store.ErrClosed) {
		s.log.Error("commit before the stop failed", "error", err)
	}
	rooms := s.allRooms()
	for _, r := range rooms {
		if r.beginClosing(causeStopping) { // else it is being deleted
			r.work.add(func() { r.shutDown(causeStopping) })
		}
	}
	for _, r := range rooms {
		r.work.wait()
	}
	s.logQueue.wait()
	s.tasks.Wait()
	s.engine.Close()
}

// RoomInfo is what LIST tells of a room.
type RoomInfo struct {
	Name, Key string
	Port      int
	Members   int
	Topic     string
	Unbound   string // why the port is not bound; empty: it is
	Locked    bool   // it has a password
}

// List returns the rooms, sorted by folded name.
func (s *Service) List() []RoomInfo {
	rooms := s.allRooms()
	infos := make([]RoomInfo, 0, len(rooms))
	for _, r := range rooms {
		if i, ok := r.info(); ok {
			infos = append(infos, i)
		}
	}
	slices.SortFunc(infos, func(a, b RoomInfo) int { return strings.Compare(a.Key, b.Key) })
	return infos
}

// room returns the room of that name if it is there and not about to go.
func (s *Service) room(name string) (*Room, error) {
	n, err := wire.ParseName(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	r := s.rooms[n.Key]
	s.mu.Unlock()
	if r == nil || !r.serves() {
		return nil, wire.Errorf(wire.CodeNoRoom, "there is no room named %s", n.Shown)
	}
	return r, nil
}

// networkAudit is what the audit keeps of a change over the network; nothing
// without an address: then whoever calls us keeps it.
func networkAudit(from, line string) []store.Audit {
	if from == "" {
		return nil
	}
	return []store.Audit{{Time: time.Now().UTC(), UID: -1, From: from, Door: store.DoorMaster, Line: line, Result: "done"}}
}

// Delete ends a room: its members get what is pending and a farewell, and it
// goes to the trash. When it returns nil all of that is done. allowed is asked
// first.
func (s *Service) Delete(name string, allowed func(*Room) error) error {
	end, err := s.alterOrRefuse()
	if err != nil {
		return err
	}
	return s.deleteRoom(end, name, "", "", allowed)
}

// deleteRoom is Delete. say, if not empty, is shown before the farewell; from is the
// address of a client. altered ends the pass through the gate: while members drain, the room
// is none that another process could take over, and nobody waits for it.
func (s *Service) deleteRoom(altered func(), name, say, from string, allowed func(*Room) error, audit ...store.Audit) error {
	r, err := s.removeFromStore(name, say, from, allowed, audit)
	altered()
	if err == nil {
		r.work.wait()
	}
	return err
}

func (s *Service) removeFromStore(name, say, from string, allowed func(*Room) error, audit []store.Audit) (*Room, error) {
	r, err := s.room(name)
	if err != nil {
		return nil, err
	}
	if err := allowed(r); err != nil {
		s.log.Info("deletion refused", "room", r.name(), "by", cmp.Or(from, "operator"), "error", err)
		s.watchers.publish(Event{Type: "refuse", Room: r.name(), Remote: from, Text: "DELETE: " + err.Error()})
		return nil, err
	}
	err = s.store.Delete(r.id, say, append(audit, networkAudit(from, "DELETE "+r.name())...)...)
	switch {
	case errors.Is(err, store.ErrNoRoom): // somebody else was faster
		return nil, wire.Errorf(wire.CodeNoRoom, "there is no room named %s", r.name())
	case err != nil:
		return nil, clientError(fmt.Errorf("delete the room %s: %w", r.name(), err))
	}
	return r, nil
}

// mayDelete is the policy of DELETE on the master port.
func (s *Service) mayDelete(r *Room, session uint64, key string) error {
	switch s.opts().Delete {
	case Anyone:
		return nil
	case Creator:
		if r.creator != 0 && r.creator == session {
			return nil
		}
		hash := sha256.Sum256([]byte(key))
		if key != "" && subtle.ConstantTimeCompare(hash[:], r.keyHash) == 1 {
			return nil
		}
		if key != "" {
			return wire.Errorf(wire.CodeDenied, "that is not the key of %s", r.name())
		}
		return wire.Errorf(wire.CodeDenied, "only who created %s may delete it: DELETE %s KEY, with the key that CREATE answered", r.name(), r.name())
	default:
		return wire.Errorf(wire.CodeDenied, "only the operator may delete rooms here")
	}
}

// clientError makes what the store refuses an answer if a client can make
// something of it.
func clientError(err error) error {
	switch {
	case errors.Is(err, store.ErrClosed):
		return wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrReadOnly):
		return wire.Errorf(wire.CodeInternal, "%s", storeErrorText(err))
	case errors.Is(err, store.ErrExists): // and not here
		return wire.Errorf(wire.CodeExists, "that name or port belongs to a room that is damaged; the operator can help")
	}
	return err
}

// storeErrorText is what a client is told of the store's errors.
func storeErrorText(err error) string {
	for _, known := range []error{store.ErrFull, store.ErrReadOnly} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	switch {
	case errors.Is(err, store.ErrNoRoom):
		return "the room is being deleted"
	case errors.Is(err, store.ErrClosed):
		return "the server is stopping"
	}
	return "the server could not write it"
}
