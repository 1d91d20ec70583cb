package bench

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// The kinds of work.
const (
	Fanout   = "fanout"   // publishers send a new line for each line that comes back
	Latency  = "latency"  // lines at a fixed rate; each time counts from the planned moment of sending
	Idle     = "idle"     // members that do nothing: memory and wake-ups
	Churn    = "churn"    // visitors join and leave repeatedly
	Comeback = "comeback" // all members reconnect at once after a restart
	History  = "history"  // a room's retention turned over many times
)

// kinds are all kinds of work.
var kinds = []string{Fanout, Latency, Idle, Churn, Comeback, History}

// Shape is the work to do. Its JSON leaves out zeros.
type Shape struct {
	Kind       string        `json:"kind"`
	Rooms      int           `json:"rooms"`
	Members    int           `json:"members"`              // of each room
	Silent     int           `json:"silent,omitempty"`     // rooms besides, without members
	Stopped    int           `json:"stopped,omitempty"`    // fanout, latency: members of each room that do not read until all lines are sent
	Publishers int           `json:"publishers,omitempty"` // of each room; they are members too
	InFlight   int           `json:"in_flight,omitempty"`  // fanout, history: lines of each publisher; churn: cycles at once
	Bytes      int           `json:"bytes,omitempty"`      // of a line, without its ending
	Rate       float64       `json:"rate,omitempty"`       // latency: lines a second in all
	WarmUp     time.Duration `json:"warm_up_ns,omitempty"`
	Duration   time.Duration `json:"duration_ns,omitempty"`
	Lines      uint64        `json:"lines,omitempty"`       // fanout, latency: in all; 0: as many as fit into the duration
	Patience   time.Duration `json:"patience_ns,omitempty"` // until everybody must have the last line
	Cycles     int           `json:"cycles,omitempty"`      // churn
	Settle     time.Duration `json:"settle_ns,omitempty"`   // idle: how long memory may take to become stable
	Keep       int           `json:"keep,omitempty"`        // history: lines that the room keeps
	Turns      int           `json:"turns,omitempty"`       // history: how often so many lines are sent
}

// Default returns the usual shape of a kind of work.
func Default(kind string) Shape {
	s := Shape{Kind: kind, Rooms: 1, Members: 256, Patience: time.Minute}
	switch kind {
	case Fanout:
		s.Publishers, s.InFlight, s.Bytes, s.WarmUp, s.Duration = 8, 64, 64, time.Second, 3*time.Second
	case Latency:
		s.Publishers, s.Rate, s.Bytes, s.WarmUp, s.Duration = 8, 200, 64, time.Second, 5*time.Second
	case Idle:
		s.Rooms, s.Members, s.Settle, s.Duration = 19, 1000, 20*time.Second, 5*time.Second
	case Churn:
		s.Members, s.InFlight, s.Cycles = 1, 8, 20000
	case Comeback:
		s.Members = 5000
	case History:
		s.Members, s.Publishers, s.InFlight, s.Bytes, s.Keep, s.Turns = 16, 8, 64, 64, 100000, 12
	}
	return s
}

func (s Shape) publishes() bool { return s.Kind == Fanout || s.Kind == Latency || s.Kind == History }

func (s Shape) check() error {
	switch {
	case !slices.Contains(kinds, s.Kind):
		return fmt.Errorf("%q is no kind of work; there are %v", s.Kind, kinds)
	case s.Rooms < 1 || s.Members < 1 || s.Silent < 0:
		return fmt.Errorf("write at least one room, and one member in it")
	case s.publishes() && (s.Publishers < 1 || s.Publishers > s.Members || s.Publishers > 9999):
		return fmt.Errorf("%d publishers among %d members: write from 1 to that many, 9999 at most", s.Publishers, s.Members)
	case s.Stopped < 0 || s.Stopped > 0 && s.Stopped > s.Members-s.Publishers:
		return fmt.Errorf("%d of %d members stopped and %d publishers are too many", s.Stopped, s.Members, s.Publishers)
	case s.publishes() && (s.Bytes < minBytes || s.Bytes > 4096):
		return fmt.Errorf("lines of %d bytes: write from %d to 4096", s.Bytes, minBytes)
	case s.Kind != Latency && s.Kind != Idle && s.Kind != Comeback && s.InFlight < 1:
		return fmt.Errorf("write at least one line or visitor in flight")
	case s.Kind == Latency && s.Rate <= 0:
		return fmt.Errorf("latency needs a rate above 0")
	case s.Kind == Churn && s.Cycles < 1:
		return fmt.Errorf("churn needs at least one cycle")
	case s.Kind == History && (s.Turns < 1 || s.Keep < 1):
		return fmt.Errorf("history needs at least one line to keep, and one turn")
	}
	return nil
}

// spareDescriptors are those of a server beside the ones of its rooms and members.
const spareDescriptors = 200

// ensureDescriptors makes sure that a process may have n.
func ensureDescriptors(n int) error {
	limit, err := raiseDescriptors(uint64(n))
	if err == nil && limit < uint64(n) {
		err = fmt.Errorf("%d descriptors are needed, %d allowed: raise it with ulimit -n, or take fewer members", n, limit)
	}
	return err
}

// Server is the target of the load.
type Server struct {
	Protocol string         // roomd, redis, nats, or irc: also inspircd or ngircd, to start one
	Address  netip.AddrPort // roomd: its master port
	PID      int            // 0: it is looked up by its port
	Process  *Process       // if it was started for this
	rooms    []room         // existing rooms to use, and to leave as they are; nil: new ones are created
}

// room is a room, and its address.
type room struct {
	name string
	at   netip.AddrPort
	key  string // deletes it
}

// Result has the measured numbers. Those that do not belong to the kind of work are 0.
type Result struct {
	Server string `json:"server"` // its protocol
	Shape  Shape  `json:"shape"`

	Lines      uint64        `json:"lines,omitempty"`        // sent
	Deliveries uint64        `json:"deliveries,omitempty"`   // lines times members, checked
	CaughtUp   time.Duration `json:"caught_up_ns,omitempty"` // from when stopped members read again until they had everything
	Cycles     int64         `json:"cycles,omitempty"`       // churn: visits
	Took       time.Duration `json:"took_ns"`
	Joining    time.Duration `json:"joining_ns,omitempty"` // until all members were in

	CPU         time.Duration `json:"cpu_ns,omitempty"` // of the server; 0: it cannot be read
	PerDelivery float64       `json:"cpu_us_per_delivery,omitempty"`
	PerLine     float64       `json:"cpu_us_per_line,omitempty"`
	PerCycle    float64       `json:"cpu_us_per_cycle,omitempty"`
	Cores       float64       `json:"cores"`      // of the server, on average
	LoadCores   float64       `json:"load_cores"` // of this tool

	Resident  int64   `json:"resident_bytes,omitempty"`
	PerMember float64 `json:"bytes_per_member,omitempty"`
	WakeUps   float64 `json:"wake_ups_per_second,omitempty"`

	// Of a line from when it was due until a member has it; churn: of a
	// connection from when it is asked for until the member is in.
	Quantiles

	Database

	Restart   time.Duration `json:"restart_ns,omitempty"` // comeback: from the signal until it listens again
	Back      time.Duration `json:"back_ns,omitempty"`    // comeback: from then until all are in
	BytesBack float64       `json:"bytes_back,omitempty"` // comeback: to each, with its replay

	Turns []Turn `json:"turns,omitempty"`
	Fault string `json:"fault,omitempty"` // the failure, which makes the other fields invalid
}

// Database has the commits of a roomd that was started for this.
type Database struct {
	Durability string        `json:"durability,omitempty"`
	Commits    uint64        `json:"commits,omitempty"`
	Commit     time.Duration `json:"commit_mean_ns,omitempty"`
	Commit99   time.Duration `json:"commit_p99_ns,omitempty"` // up to the width of its buckets
	Disk       int64         `json:"disk_bytes,omitempty"`    // all its files
}

// Turn is one turn of a room's retention.
type Turn struct {
	Lines uint64  `json:"lines"` // sent so far
	Rate  float64 `json:"lines_per_second"`
	Database
}
