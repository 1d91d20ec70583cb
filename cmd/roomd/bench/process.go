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
	"slices"
	"strings"
	"syscall"
	"time"
)

// Process is a server that is started for a run, on this machine, with a folder of its
// own. Set its fields before Start.
type Process struct {
	Protocol   string
	Binary     string // of the server; empty: the usual name, looked up in PATH
	Dir        string // parent of its folder; empty: the system's place for temporary files
	Durability string // roomd: commit or relaxed
	History    int    // roomd: lines kept in a room; 0: all
	Rooms      int    // roomd: rooms that it must allow
	Members    int    // connections that it must allow, beside its rooms
	CPU        int    // the processor that it runs on; -1: any

	folder      string
	port        int // that the load connects to
	masterPort  int // irc: roomd's, which is another
	metricsPort int
	cmd         *exec.Cmd
	output      bytes.Buffer
	exited      chan struct{} // closed when the process has ended
	exitErr     error         // then: of its end
}

// Server returns the server as a place for load.
func (p *Process) Server() Server {
	return Server{
		Protocol: p.Protocol, PID: p.cmd.Process.Pid, Process: p,
		Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(p.port)),
	}
}

// Start starts the server and waits until it accepts connections. Stop must follow, also
// after an error.
func (p *Process) Start(ctx context.Context) error {
	// It inherits the limit.
	if err := ensureDescriptors(p.Rooms + p.Members + spareDescriptors); err != nil {
		return err
	}
	if p.folder == "" {
		var err error
		if p.folder, err = os.MkdirTemp(p.Dir, "roomd-bench-"); err != nil {
			return err
		}
		if p.port, err = freePort(); err != nil {
			return err
		}
		if p.metricsPort, err = freePort(p.port); err != nil {
			return err
		}
		p.masterPort = p.port
		if p.Protocol == "irc" {
			if p.masterPort, err = freePort(p.port, p.metricsPort); err != nil {
				return err
			}
		}
	}
	name, args, config := p.command()
	if err := os.WriteFile(filepath.Join(p.folder, configName), []byte(config), 0o600); err != nil {
		return err
	}
	p.output.Reset()
	p.cmd = exec.Command(name, args...)
	p.cmd.Dir = p.folder
	p.cmd.Stderr, p.cmd.Stdout = &p.output, &p.output
	if err := p.startPinned(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	for end := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", p.Server().Address.String())
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s has ended: %v: %s", name, p.exitErr, p.output.String())
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
// that starts it. A roomd inherits its timer slack the same way, which the packaged unit
// sets too. The thread stays until the process has ended: if it ended first, the system
// would kill the process (killWithParent).
func (p *Process) startPinned() error {
	cmd, exited, started := p.cmd, make(chan struct{}), make(chan error)
	p.exited = exited
	killWithParent(cmd)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		var err error
		if p.CPU >= 0 {
			err = pin(p.CPU, false)
		}
		if err == nil && p.isRoomd() {
			err = setTimerSlack()
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			p.exitErr = cmd.Wait()
		}
		close(exited)
	}()
	return <-started
}

// terminate ends the process and waits for it.
func (p *Process) terminate() error {
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	process := p.cmd.Process
	kill := time.AfterFunc(20*time.Second, func() { process.Kill() })
	defer kill.Stop()
	process.Signal(syscall.SIGTERM)
	<-p.exited
	p.cmd = nil
	var exit *exec.ExitError
	if p.exitErr == nil || !p.isRoomd() && errors.As(p.exitErr, &exit) { // peers end by the signal
		return nil
	}
	return fmt.Errorf("the server ended with %w: %s", p.exitErr, p.output.String())
}

// Stop ends the server and removes its folder.
func (p *Process) Stop() error {
	err := p.terminate()
	if p.folder != "" {
		err = errors.Join(err, os.RemoveAll(p.folder))
	}
	return err
}

// isRoomd reports whether the server is a roomd, whatever it is measured by.
func (p *Process) isRoomd() bool { return p.Protocol == "roomd" || p.Protocol == "irc" }

const configName = "config"

// lookPath is exec.LookPath, and finds servers that are not in everybody's PATH.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	return path, err
}

// peer returns the binary, or the one of the usual name.
func (p *Process) peer(name string) string {
	if path, err := lookPath(name); p.Binary == "" && err == nil {
		return path
	}
	return cmp.Or(p.Binary, name)
}

// command returns the command of the server and its configuration: its usual settings,
// on loopback, without limits that the load could reach, and for the peers without a
// disk.
func (p *Process) command() (name string, args []string, config string) {
	switch p.Protocol {
	case "redis":
		return p.peer("redis-server"), []string{configName},
			fmt.Sprintf("port %d\nbind 127.0.0.1\nprotected-mode no\nsave \"\"\nappendonly no\nmaxclients 50000\n", p.port)
	case "nats":
		return p.peer("nats-server"), []string{"-c", configName},
			fmt.Sprintf("listen: \"127.0.0.1:%d\"\nmax_connections: 100000\n", p.port)
	case "inspircd":
		args := []string{"--nofork", "--nolog", "--config=" + filepath.Join(p.folder, configName)}
		if os.Getuid() == 0 {
			args = append(args, "--runasroot")
		}
		return p.peer("inspircd"), args, inspircdConfig(p.port, p.folder)
	case "ngircd":
		return p.peer("ngircd"), []string{"--nodaemon", "--config", filepath.Join(p.folder, configName)}, ngircdConfig(p.port)
	}
	irc, create := "[irc]\nlisten = []\n", []string{}
	if p.Protocol == "irc" {
		for i := range p.Rooms {
			create = append(create, fmt.Sprintf("\"r%d\"", i)) // a JOIN finds them
		}
		irc = fmt.Sprintf("[irc]\nlisten = [\"127.0.0.1:%d\"]\n", p.port)
	}
	// Another run at the same time should not get the port of a room while this server
	// restarts: each has a range of its own, mostly.
	rooms := max(p.Rooms, 64)
	width := min(rooms+rooms/2, lastRoomPort-firstRoomPort)
	first := firstRoomPort + os.Getpid()*7919%(lastRoomPort-firstRoomPort-width+1)
	return p.Binary, []string{"serve", "--config", configName}, fmt.Sprintf(`[server]
port = %d
create = [%s]
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
%s`, p.masterPort, strings.Join(create, ", "), first, first+width, rooms, p.Durability, p.History, p.metricsPort, irc)
}

// Below the range of outgoing connections: ports of servers and their metrics, then those
// of rooms.
const (
	firstPort, lastPort         = 10000, 11999
	firstRoomPort, lastRoomPort = 12000, 31999
)

// freePort finds a port on which nobody listens, below those of rooms and of outgoing
// connections.
func freePort(not ...int) (int, error) {
	for i := range lastPort - firstPort {
		port := firstPort + (os.Getpid()*37+i)%(lastPort-firstPort)
		if slices.Contains(not, port) {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, ln.Close()
		}
	}
	return 0, fmt.Errorf("no port from %d to %d is free", firstPort, lastPort)
}
