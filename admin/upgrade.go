package admin

import (
	"context"
	"net"
	"os"
	"strings"
	"time"
)

// Upgrade is how an upgrade went.
type Upgrade struct {
	Binary  string `json:"binary"`
	Sum     string `json:"sha256"`
	Version string `json:"version"`
	PID     int    `json:"pid,omitempty"`
	Members int    `json:"members"`         // that were handed over, or would be
	Pause   string `json:"pause,omitempty"` // how long nobody was served
	Took    string `json:"took"`            // in all
}

// upgradeCommand has another process take over.
var upgradeCommand = command{
	name: "upgrade", args: []param{{name: "BINARY", optional: true}}, short: "Replace the server's process; connections stay", about: "Without BINARY: the binary of the server that is now on disk. For members of admin.group, only root and the server's user may be able to write BINARY.",
	example: "upgrade", changes: true, run: upgrade,
}

func upgrade(c *call) error {
	binary, sum, err := c.Program(c.arg(), c.caller.UID == 0 || c.caller.UID == os.Getuid())
	if err != nil {
		return refuse("denied", "nothing was started, and this server continues: %v", err)
	}
	// A dry run starts the program, too. Afterwards the database may be another
	// process's: the audit says that it has begun, and what follows only if it has
	// failed.
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
	// The operator who gave the command may leave: it is carried out anyway.
	done, err := c.Server.Upgrade(context.WithoutCancel(c.ctx), binary, false)
	if err != nil {
		return refuse("failed", "this server continues: %v", err)
	}
	c.skipAudit = true
	done.Sum = sum
	return c.out.value(done)
}

// UpgradeBegun is what the audit says of an upgrade to a program that is about to be started.
func UpgradeBegun(binary, sum string) string { return "begun: " + binary + ", SHA-256 " + sum }

// Conn is the socket, to be handed to another process.
func (l *Listener) Conn() *net.UnixListener { return l.ln }

// Retire ends the connections, but leaves the socket to the process that serves
// it by now. An answer that is on its way has this time.
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
