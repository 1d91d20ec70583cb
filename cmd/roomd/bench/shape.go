package bench

import (
	"fmt"
	"net/netip"
	"time"
)

// Shape is the work to do. Which fields count depends on the kind.
type Shape struct {
	Kind       string        `json:"kind"`       // fanout, latency
	Rooms      int           `json:"rooms"`      //
	Members    int           `json:"members"`    // of each room
	Publishers int           `json:"publishers"` // of each room; they are members too
	InFlight   int           `json:"in_flight"`  // lines of each publisher, fanout
	Bytes      int           `json:"bytes"`      // of a line, without its ending
	Rate       float64       `json:"rate"`       // lines a second in all, latency
	WarmUp     time.Duration `json:"warm_up"`
	Duration   time.Duration `json:"duration"`
	Lines      uint64        `json:"lines"` // in all; 0: as many as fit into the duration
}

func (s Shape) check() error {
	switch {
	case s.Rooms < 1 || s.Members < 1:
		return fmt.Errorf("there must be a room, and a member in it")
	case s.Publishers < 1 || s.Publishers > s.Members || s.Publishers > 9999:
		return fmt.Errorf("%d publishers among %d members: write from 1 to that many, 9999 at most", s.Publishers, s.Members)
	case s.Bytes < leastBytes || s.Bytes > 4096:
		return fmt.Errorf("lines of %d bytes: write from %d to 4096", s.Bytes, leastBytes)
	case s.Kind == "fanout" && s.InFlight < 1:
		return fmt.Errorf("there must be a line in flight")
	case s.Kind == "latency" && s.Rate <= 0:
		return fmt.Errorf("latency needs a rate")
	}
	return nil
}

// Server is where the load goes.
type Server struct {
	Protocol string         // roomd, redis or nats
	Address  netip.AddrPort // roomd: its master port
	PID      int            // 0: looked for
}

// place is a room.
type place struct {
	name string
	at   netip.AddrPort
	key  string // it is deleted with
}

// Result is what was measured. Times are in nanoseconds in JSON.
type Result struct {
	Server string `json:"server"`
	Shape  Shape  `json:"shape"`

	Lines      uint64        `json:"lines"`      // said
	Deliveries uint64        `json:"deliveries"` // lines times members, checked
	Took       time.Duration `json:"took"`
	Joining    time.Duration `json:"joining"` // until all members were in

	CPU        time.Duration `json:"cpu"` // of the server; 0: not to be seen
	PerLine    float64       `json:"cpu_us_per_line"`
	PerDeliver float64       `json:"cpu_us_per_delivery"`
	Cores      float64       `json:"cores"`      // of the server, on average
	LoadCores  float64       `json:"load_cores"` // of this tool
	Resident   int64         `json:"resident_bytes"`

	P50  time.Duration `json:"p50"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p999"`
	Max  time.Duration `json:"max"`

	Fault string `json:"fault,omitempty"` // what went wrong; then the rest is of no value
}
