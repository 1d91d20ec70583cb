package admin

import (
	"context"
	"net"
	"os"
	"strings"
	"time"
)

// Upgrade is the result of an upgrade.
type Upgrade struct {
	Binary  string `json:"binary"`
	Sum     string `json:"sha256"`
	Version string `json:"version"`
	PID     int    `json:"pid,omitempty"`
	Members int    `json:"members"`         // handed over, or in a dry run counted
	Pause   string `json:"pause,omitempty"` // the time in which the server was frozen
	Took    string `json:"took"`            // the whole duration
}

// upgradeCommand starts another process that takes over.
var upgradeCommand = command{
	name: "upgrade", args: []param{{name: "BINARY", optional: true}}, short: "Replace the server's process; connections stay", about: "Without BINARY: the binary of the server that is now on disk. For members of admin.group, only root and the server's user may be able to write BINARY.",
	example: "upgrade", changes: true, run: upgrade,
}

func upgrade(c *call) error {
	binary, sum, err := c.Program(c.arg(), c.caller.UID == 0 || c.caller.UID == os.Getuid())
	if err != nil {
		return refuse("denied", "nothing was started, and this server continues: %v", err)
	}
	// A dry run starts the program, too. Afterwards another process may own the database: so
	// the audit records the beginning, and only a failure after it.
	if err := c.record(c.caller, "", c.line, UpgradeBegun(binary, sum)); err != nil {
		text, _, _ := strings.Cut(err.Error(), "\n")
		return refuse("refused", "nothing was started, as the audit cannot be written: %s", text)
	}
	if c.has("dry-run") {
		could, err := c.Server.Upgrade(c.ctx, binary, true)
		if err != nil {
			return refuse("failed", "the binary could not take over: %v", err)
		}
		c.skipAudit = true
		could.Sum = sum
		return c.out.value(could)
	}
	// The upgrade continues if the operator leaves.
	done, err := c.Server.Upgrade(context.WithoutCancel(c.ctx), binary, false)
	if err != nil {
		return refuse("failed", "this server continues: %v", err)
	}
	c.skipAudit = true
	done.Sum = sum
	return c.out.value(done)
}

// UpgradeBegun is the audit's result of an upgrade before the program starts.
func UpgradeBegun(binary, sum string) string { return "begun: " + binary + ", SHA-256 " + sum }

// Conn returns the socket, for the handover to another process.
func (l *Listener) Conn() *net.UnixListener { return l.ln }

// Retire ends the connections and leaves the socket to the process that serves it now. Pending
// answers have this time.
func (l *Listener) Retire(within time.Duration) {
	l.ln.SetUnlinkOnClose(false)
	l.ln.Close()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for until := time.Now().Add(within); l.pending.Load() > 0 && time.Now().Before(until); {
		<-look.C
	}
	l.end()
}
