package netsvc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/ban"
	"roomd/netsvc/limit"
	"roomd/netsvc/passwd"
	"roomd/netsvc/ports"
	"roomd/netsvc/readers"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/trim"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Policy says who may delete a room on the network.
type Policy string

const (
	Anyone   Policy = "anyone"
	Creator  Policy = "creator"  // the connection that created it, or one that has its key
	Operator Policy = "operator" // no client, only the operator
)

// Options are read by New and Service.Prepare. There are no defaults here, so all fields must be
// set: the defaults are those of the configuration.
type Options struct {
	Listen      []netip.Addr // addresses of the master port and of every room
	Port        int          // the master port; 0: the system chooses
	MasterFDs   []int        // descriptors that listen on the master port already, for Start; none: it is opened
	MasterGiven bool         // the master port was given as descriptors, and does not change with the options
	// PortOffset is added to the ports that the master port names: clients connect to those,
	// and what is in between (a container's mapping, NAT) to ours.
	PortOffset int
	// Proxies are addresses whose connections begin with a header of the PROXY protocol:
	// limits and bans hold for the client that it names.
	Proxies        []netip.Prefix
	Ports          [2]int   // first and last port for rooms
	FirstRooms     []string // are created by Start in an empty database
	MaxRooms       int      // 0: no limit
	Replay         int      // earlier lines that a new member gets; 0: none
	QuietAbove     int      // members; in a larger room the text has no join and leave lines
	MaxMembers     int      // of one room; 0: no limit
	MaxConnections int      // of all addresses; 0: no limit
	MaxPerAddress  int      // connections of one address (IPv6: one /64); 0: no limit
	LineBytes      int      // of a line without its ending
	MaxLag         int      // lines that a member may lag behind; 0: no limit

	Rates

	DeadPeer   time.Duration
	MasterIdle time.Duration // 0: no limit
	// Certificate returns the certificate for a new connection, on every port (see
	// tls.Config.GetCertificate). nil: connections are plain.
	Certificate  func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	CreateAnyone bool // false: CREATE is refused
	Delete       Policy
	Log          *slog.Logger

	// Portable serves plain connections with goroutines, as on systems without event loops.
	Portable bool

	// Doors are further ways into the rooms. They are read by New alone.
	Doors []DoorOptions
}

// Rates are the rate limits of clients.
type Rates struct {
	ConnectRate    float64        // connections a second from one address; 0: no limit
	RequestRate    float64        // requests a second of a master connection, and addressFactor times as many of an address; 0: no limit
	RateExempt     []netip.Prefix // addresses without a rate limit
	HTTPProxies    []netip.Prefix // the same, and without MaxPerAddress: they name their clients once they speak HTTP
	LinesPerSecond float64        // of a member, which is read more slowly beyond that; 0: no limit
	Burst          int            // lines that it may send at once before that; 0: no limit
}

// limitsLines reports whether there is a rate limit on the lines of a member.
func (r *Rates) limitsLines() bool { return r.LinesPerSecond > 0 && r.Burst > 0 }

// Service is the running server. Its methods may be called from any goroutine.
type Service struct {
	// Set by New, then read-only.
	log    *slog.Logger
	store  *store.Store
	engine *transport.Engine
	tls    *tls.Config
	formats
	doorList

	options atomic.Pointer[Options]            // replaced as a whole, never written to
	master  atomic.Pointer[transport.Endpoint] // replaced by Change.Commit

	// Set by Start, then read-only.
	started      time.Time
	corruptPorts []int // of rooms that are not served because their record is corrupt

	directory
	limits
	totals
	shutdown
	healthCheck

	queue         admissionQueue
	upgrade       upgrade
	watchers      watcherList
	readers       *readers.Registry
	logs          *roomlog.Budget
	logQueue      taskQueue // writes to the log
	refusalLog    refusalLog
	wakeDetection chan struct{} // capacity 1: something was written, for the detection of dead peers

	reconfiguring sync.Mutex // held from Prepare to Commit or Undo, and by reconcile

	// Owned by the store's committer.
	touched []*Room
}

// directory finds rooms by name and port, and has the state of their ports. mu guards it.
type directory struct {
	mu             sync.Mutex
	rooms          map[string]*Room // by folded name; also those opening and closing
	ids            map[uint64]*Room // by ID; not those that are deleted
	draining       map[*Room]bool   // are deleted and drain, while another room has their name
	ports          ports.Queue
	masterSessions map[*masterSession]bool // until their connections are closed
	roomsSessions  map[*RoomsSession]bool  // that are admitted, until their connections are closed
	stopping       bool

	missing        map[netip.Addr]string // addresses of Options.Listen that not every port listens on, and why
	reconciling    bool                  // the goroutine of scheduleReconcile is running
	reconcileAgain bool                  // it must run reconcile once more
}

// limits is the use of what is limited over the whole server. Each field has a lock of its own,
// or needs none.
type limits struct {
	conns       limit.Conns
	connects    limit.Buckets
	requests    limit.Buckets
	commands    limit.Buckets // of members
	guesses     passwd.Guesses
	bans        atomic.Pointer[ban.List] // read at every join, replaced as a whole
	insertBytes atomic.Int64             // of all members
	diskReaders chan struct{}            // has a place for each goroutine that may read from the disk
}

// totals count connections and members, for their IDs and for Inconsistencies, and events.
type totals struct {
	sessionIDs   atomic.Uint64 // the last one that a master session got
	memberIDs    atomic.Uint64 // the same of members
	inTransition atomic.Int64  // connections that become a session or a member, and are in no list
	// uncounted are members that did not end in this process: their connections could
	// not be started, or stayed with the process before.
	uncounted atomic.Uint64
	counters  counters
	trimmer   trim.Trimmer
}

// shutdown is the state of Stop.
type shutdown struct {
	stopRequested chan struct{}   // closed when Stop begins
	stop          context.Context // done when the input of closed connections is handled
	cancelStop    context.CancelFunc
	tasks         sync.WaitGroup // all goroutines but those of rooms
}

// healthCheck is the goroutine that all callers of Health wait for.
type healthCheck struct {
	healthMu   sync.Mutex    // guards healthDone
	healthDone chan struct{} // closed when the goroutine has had every lock; nil: it is not running
}

// New returns a server over a store that is open and not started.
func New(st *store.Store, opts Options) *Service {
	s := &Service{
		log: opts.Log, store: st, logs: roomlog.NewBudget(allLogs), wakeDetection: make(chan struct{}, 1), readers: readers.NewRegistry(st),
		directory: directory{
			rooms: make(map[string]*Room), ids: make(map[uint64]*Room), draining: make(map[*Room]bool),
			masterSessions: make(map[*masterSession]bool), roomsSessions: make(map[*RoomsSession]bool), missing: make(map[netip.Addr]string),
		},
	}
	s.formats[roomlog.Text], s.formats[roomlog.JSON] = asText{}, asJSON{}
	s.addDoors(opts.Doors)
	s.options.Store(&opts)
	s.stopRequested = make(chan struct{})
	s.diskReaders = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))
	s.counters.init()
	s.tls = s.tlsConfig()
	s.stop, s.cancelStop = context.WithCancel(context.Background())
	s.engine = transport.New(transport.Options{
		Portable: opts.Portable, Log: opts.Log, MaxRead: s.maxRead,
		DeadPeer:         func() time.Duration { return s.opts().DeadPeer },
		Accepted:         func() { s.counters.accepted.Add(1) },
		OutOfDescriptors: func() { s.counters.refusals.add(refusedDescriptors) },
	})
	return s
}

// opts returns the options in effect. Read options that belong together from one call.
func (s *Service) opts() *Options { return s.options.Load() }

// Start binds every room of the store, or creates the first rooms, and then opens the master
// port. When it returns nil, every room is bound, or is unbound and retried.
// After an error, too, the service must be stopped.
func (s *Service) Start() error {
	rooms, err := s.load()
	if err != nil {
		return err
	}
	if err := s.engine.Run(); err != nil {
		return err
	}
	s.bindAll(s.dropAllUnused(rooms))
	if err := s.createFirst(); err != nil {
		return err
	}
	master, err := s.listenMaster()
	if err != nil {
		return err
	}
	s.master.Store(master)
	s.tasks.Go(s.detectDeadPeers)
	s.openDoors()
	return master.Open(s.admitMaster, busyReply)
}

// load opens the event loops, reads the bans, rooms and ports of the store, and follows its changes
// from then on.
func (s *Service) load() (rooms []*Room, err error) {
	s.started = time.Now().UTC()
	if err := s.engine.Open(); err != nil {
		return nil, err
	}
	if err := s.loadBans(); err != nil {
		return nil, err
	}
	stored, err := s.store.Rooms()
	if err != nil {
		return nil, fmt.Errorf("read the rooms: %w", err)
	}
	released, err := s.store.ReleasedPorts()
	if err != nil {
		return nil, fmt.Errorf("read the ports: %w", err)
	}
	s.corruptPorts = s.store.SkippedPorts()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range stored {
		st, err := s.store.Stat(k.ID)
		if err != nil {
			return nil, fmt.Errorf("read the room %s: %w", k.Name, err)
		}
		rooms = append(rooms, s.register(k, st.Last))
	}
	s.ports = ports.NewQueue(s.opts().Ports, s.usedPorts(s.opts().Port), released)
	s.store.Start(s.follower())
	return rooms, nil
}

// uptime returns the time since Start. It does not change when the clock is set.
func (s *Service) uptime() time.Duration { return time.Since(s.started) }

// Port returns the master port, after Start.
func (s *Service) Port() int { return s.master.Load().Port }

// Stop ends the server. It handles the input of clients that have closed their side, for a few
// seconds at most, closes the master port, commits the lines of members, tells the members,
// writes what is pending for them, for a few seconds if they do not read, and closes their
// connections. The caller closes the store.
func (s *Service) Stop() {
	s.awaitInput()
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.cancelStop()
	for _, c := range s.nonMembers() {
		c.terminate()
	}
	if master := s.master.Load(); master != nil {
		master.DrainAndClose()
	}
	for _, d := range s.doors {
		d.close()
	}
	// Submitted lines come before the farewell. If the store refuses one, its sender is told.
	if err := s.store.Flush(); err != nil && !errors.Is(err, store.ErrClosed) {
		s.log.Error("commit before the stop failed; the senders were told", "error", err)
	}
	rooms := s.allRooms()
	for _, r := range rooms {
		if r.beginClosing(CauseStopping) { // false: it is being deleted
			r.work.add(func() { r.shutDown(CauseStopping) })
		}
	}
	for _, r := range rooms {
		r.work.wait()
	}
	s.logQueue.wait()
	s.tasks.Wait()
	s.readers.Stop()
	s.trimmer.Stop()
	s.engine.Close()
}

// RoomInfo is a room in the answer of LIST.
type RoomInfo struct {
	Name, Key string
	Port      int
	Members   int
	Topic     string
	Unbound   string // why the port is not bound; empty: it is
	Locked    bool   // it has a password
	ReadOnly  bool   // nobody but the operator writes in it
	Limit     int    // how many members it may have; 0: any number
	Created   time.Time
	ID        uint64 // the same as long as the room exists
	Newest    uint64 // the sequence number of its newest line
}

// ForStrangers is the room as a client that may not have its password sees it.
func (i RoomInfo) ForStrangers() RoomInfo {
	if i.Locked {
		i.Members, i.Topic, i.Newest = 0, "", 0
	}
	return i
}

// sortedRooms returns all rooms, sorted by folded name.
func (s *Service) sortedRooms() []*Room {
	rooms := s.allRooms()
	sortRooms(rooms)
	return rooms
}

func sortRooms(rooms []*Room) {
	slices.SortFunc(rooms, func(a, b *Room) int { return strings.Compare(a.key(), b.key()) })
}

// List returns the rooms of the answer of LIST, sorted by folded name.
func (s *Service) List() []RoomInfo { return s.ListAfter("", math.MaxInt) }

// ListAfter returns the next n rooms behind a folded name at most; fewer: there are no more. It looks
// at all rooms, which takes milliseconds for thousands of them.
func (s *Service) ListAfter(key string, n int) []RoomInfo {
	rooms := slices.DeleteFunc(s.allRooms(), func(r *Room) bool { return r.key() <= key })
	sortRooms(rooms)
	infos := make([]RoomInfo, 0, min(n, len(rooms)))
	for _, r := range rooms {
		if len(infos) == n {
			break
		}
		if i, ok := r.info(); ok {
			infos = append(infos, i)
		}
	}
	return infos
}

// RoomInfo returns the room of a name as List does.
func (s *Service) RoomInfo(name string) (RoomInfo, error) {
	r, err := s.room(name)
	if err != nil {
		return RoomInfo{}, err
	}
	return r.infoAfterChange()
}

// NameAt returns the name of the room that clients reach at a port.
func (s *Service) NameAt(port int) (name string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.roomAtPort(port - s.opts().PortOffset); r != nil && r.serves() {
		return r.name(), true
	}
	return "", false
}

// RoomCount returns how many rooms there are, with those that are being opened or closed.
func (s *Service) RoomCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rooms)
}

// room returns the room of that name, unless it is opening or closing.
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

// clientError turns an error of the store into one for the client, if it helps the client.
func clientError(err error) error {
	switch {
	case errors.Is(err, store.ErrClosed):
		return wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrReadOnly):
		return wire.Errorf(wire.CodeInternal, "%s", storeErrorText(err))
	case errors.Is(err, store.ErrExists): // though Service does not know the room
		return wire.Errorf(wire.CodeExists, "that name or port belongs to a corrupt room; ask the operator")
	}
	return err
}

// storeErrorText is an error of the store as it is told to a client.
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

// nonMember is a connection that is not a single member's: one to the master port or to a door,
// one before a room's password, or one whose TLS handshake is under way.
type nonMember interface {
	// location returns the room, nil for the master port, and the address of the client.
	location() (*Room, netip.AddrPort)
	// connectedAt returns when the connection was accepted.
	connectedAt() time.Time
	info() ConnInfo
	// HungUp reports whether the peer has closed its side, or is gone.
	HungUp() bool
	// Signal wakes the goroutine of the connection that waits for something, if there is one.
	Signal()
	// terminate ends the connection. The session finds the reason: a ban, the end of the
	// room or of the server, an upgrade. The client has lastWriteTimeout for its answers.
	terminate()
	// evict ends the connection to make room for a newer one.
	evict()
	// abort breaks the connection. It reports false if the connection was aborted or closed before.
	abort() bool
}

// nonMembers returns all connections that are not a member's.
func (s *Service) nonMembers() (all []nonMember) {
	waiting := s.queue.all() // first: a session that is admitted meanwhile is found among the others
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.masterSessions {
		all = append(all, c)
	}
	for k := range s.roomsSessions {
		all = append(all, k)
	}
	return append(all, slices.DeleteFunc(waiting, func(v nonMember) bool {
		k, ok := v.(*RoomsSession)
		return ok && s.roomsSessions[k]
	})...)
}
