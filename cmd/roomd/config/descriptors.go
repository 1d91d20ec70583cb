package config

import (
	"fmt"
	"math"
	"syscall"

	"roomd/admin/english"
)

// FitDescriptors lowers limits.connections to the number that the descriptor limit of the
// process allows, and returns a warning if that is less than configured.
func (c *Config) FitDescriptors() (warning string) { return c.fitDescriptors(descriptorLimit()) }

func (c *Config) fitDescriptors(limit uint64) (warning string) {
	const (
		ours  = 64 // for the database, the log and the master port, with a reserve
		least = 16
		most  = 1 << 30
	)
	taken := uint64(c.RoomsAtMost()*len(c.Server.Listen)) + ours
	left := uint64(least)
	if limit > taken+least {
		left = min(limit-taken, most)
	}
	want := c.Limits.Connections
	if want > 0 && uint64(want) <= left {
		return ""
	}
	if c.Limits.Connections = int(left); want == 0 {
		return ""
	}
	return fmt.Sprintf("limits.connections is lowered from %d to %d: the descriptor limit is %d, and the listeners of %s need some; raise it with LimitNOFILE= (systemd) or ulimit -n",
		want, left, limit, english.Plural(c.RoomsAtMost(), "room"))
}

// descriptorLimit returns the descriptor limit of the process. Go has raised the soft limit
// to the hard limit at the start.
func descriptorLimit() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return math.MaxInt64
	}
	return uint64(l.Cur)
}
