package bench

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Process is a server that is started for a run, on this machine, with a folder of
// its own. Set its fields before Start.
type Process struct {
	Protocol   string
	Binary     string // of the server; empty: the usual name, looked for in PATH
	Dir        string // where its folder is made; empty: the system's place for temporary files
	Durability string // roomd: commit or relaxed
	History    int    // roomd: lines kept in a room; 0: all
	Rooms      int    // roomd: how many it must allow
	Members    int    // how many connections it must allow, beside its rooms
	CPU        int    // the processor it is kept on; -1: any

	folder      string
	port        int
	metricsPort int
	cmd         *exec.Cmd
	output      bytes.Buffer
	exited      chan struct{} // closed when the process has ended
	exitErr     error         // then: how
}

// Server is where it is.
func (o *Process) Server() Server {
	return Server{
		Protocol: o.Protocol, PID: o.cmd.Process.Pid, Process: o,
		Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(o.port)),
	}
}

// Start starts the server and waits until it takes connections. Stop must
// follow, also after an error.
func (o *Process) Start(ctx context.Context) error {
	// It inherits the limit.
	if err := ensureDescriptors(o.Rooms + o.Members + spareDescriptors); err != nil {
		return err
	}
	if o.folder == "" {
		dir, err := os.MkdirTemp(o.Dir, "roomd-bench-")
		if err != nil {
			return err
		}
		o.folder = dir
		if o.port, err = freePort(0); err != nil {
			return err
		}
		if o.metricsPort, err = freePort(o.port); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, configName), []byte(o.config()), 0o600); err != nil {
			return err
		}
	}
	name, args := o.command()
	o.output.Reset()
	o.cmd = exec.Command(name, args...)
	o.cmd.Dir = o.folder
	o.cmd.Stderr, o.cmd.Stdout = &o.output, &o.output
	if err := o.startPinned(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	for end := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", o.Server().Address.String())
		if err == nil {
			return c.Close()
		}
		select {
		case <-o.exited:
			return fmt.Errorf("%s has ended: %v: %s", name, o.exitErr, o.output.String())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is not up after a minute: %w", name, err)
		}
	}
}

// startPinned starts the process on its processor, which it inherits from the thread
// that starts it; so a roomd does its timer slack, which the packaged unit sets
// too. The thread stays until the process has ended: were it to end first, the
// system would end the process (diesWithUs).
func (o *Process) startPinned() error {
	cmd, gone, started := o.cmd, make(chan struct{}), make(chan error)
	o.exited = gone
	killWithParent(cmd)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		var err error
		if o.CPU >= 0 {
			err = pin(o.CPU, false)
		}
		if err == nil && o.Protocol == "roomd" {
			err = setTimerSlack()
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			o.exitErr = cmd.Wait()
		}
		close(gone)
	}()
	return <-started
}

// terminate ends the process and waits for it.
func (o *Process) terminate() error {
	if o.cmd == nil || o.cmd.Process == nil {
		return nil
	}
	process := o.cmd.Process
	kill := time.AfterFunc(20*time.Second, func() { process.Kill() })
	defer kill.Stop()
	process.Signal(syscall.SIGTERM)
	<-o.exited
	o.cmd = nil
	err := o.exitErr
	var exit *exec.ExitError
	if errors.As(err, &exit) && o.Protocol != "roomd" {
		return nil // they end by the signal
	}
	if err != nil {
		return fmt.Errorf("the server ended with %w: %s", err, o.output.String())
	}
	return nil
}

// Stop ends the server and removes its folder.
func (o *Process) Stop() error {
	err := o.terminate()
	if o.folder != "" {
		err = errors.Join(err, os.RemoveAll(o.folder))
	}
	return err
}

func (o *Process) command() (string, []string) {
	switch o.Protocol {
	case "redis":
		return cmp.Or(o.Binary, "redis-server"), []string{configName}
	case "nats":
		return cmp.Or(o.Binary, "nats-server"), []string{"-c", configName}
	}
	return o.Binary, []string{"serve", "--config", configName}
}

// config is the configuration of a server: its usual settings, on loopback,
// with no limit in the way, and for the peers without a disk.
func (o *Process) config() string {
	switch o.Protocol {
	case "redis":
		return fmt.Sprintf("port %d\nbind 127.0.0.1\nprotected-mode no\nsave \"\"\nappendonly no\nmaxclients 50000\n", o.port)
	case "nats":
		return fmt.Sprintf("listen: \"127.0.0.1:%d\"\nmax_connections: 100000\n", o.port)
	}
	// Another run at the same time should not get the port of a room while
	// this server restarts: each has a range of its own, mostly.
	rooms := max(o.Rooms, 64)
	width := min(rooms+rooms/2, lastRoomPort-firstRoomPort)
	first := firstRoomPort + os.Getpid()*7919%(lastRoomPort-firstRoomPort-width+1)
	return fmt.Sprintf(`[server]
port = %d
create = []
[rooms]
ports = "%d-%d"
max = %d
[limits]
members = 1000000
connections = 100000
lines_per_second = 1e9
burst = 1000000
max_lag = 0
[history]
durability = "%s"
lines = %d
[admin]
socket = ""
[metrics]
listen = "127.0.0.1:%d"
[log]
level = "warn"
`, o.port, first, first+width, rooms, o.Durability, o.History, o.metricsPort)
}

const configName = "config"

// Below what the kernel gives to outgoing connections: ports of servers and
// their metrics, then those of rooms.
const (
	firstPort, lastPort         = 10000, 11999
	firstRoomPort, lastRoomPort = 12000, 31999
)

// freePort finds a port that nobody listens on, below those that rooms get and
// the kernel gives to outgoing connections.
func freePort(not int) (int, error) {
	for i := range lastPort - firstPort {
		port := firstPort + (os.Getpid()*37+i)%(lastPort-firstPort)
		if port == not {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, ln.Close()
		}
	}
	return 0, fmt.Errorf("no port from %d to %d is free", firstPort, lastPort)
}
