package upgrade

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Relay connects the process that serves with the one that served before it. The old process
// sends signals, as one byte with the number of the signal. The process that serves sends a
// PID, in four bytes: that process serves from now on.
type Relay struct {
	conn *net.UnixConn
	// parent says that the other process waits for the server. Without it nobody would know
	// the server process.
	parent   bool
	detached atomic.Bool // the connection belongs to the successor
}

// Forward sends a signal to the process that serves.
func (r *Relay) Forward(sig syscall.Signal) {
	r.conn.SetWriteDeadline(time.Now().Add(time.Second))
	r.conn.Write([]byte{byte(sig)}) // a process that has exited needs no signal
}

// SendPID tells a parent that another process serves from now on. The connection belongs to
// that process then.
func (r *Relay) SendPID(pid int) error {
	r.detached.Store(true)
	defer r.conn.Close()
	r.conn.SetDeadline(time.Now().Add(time.Second))
	_, err := r.conn.Write(binary.BigEndian.AppendUint32(nil, uint32(pid)))
	return err
}

// receivePID waits for the PID of the process that serves from now on. When no process is
// left that could send one, the error is io.EOF.
func (r *Relay) receivePID() (pid int, err error) {
	var b [4]byte
	_, err = io.ReadFull(r.conn, b[:])
	return int(binary.BigEndian.Uint32(b[:])), err
}

// Listen starts a goroutine that calls take for each signal that the other process forwards,
// until that process exits or take returns false. If a parent exits, the goroutine calls
// orphaned, and then take with SIGTERM.
func (r *Relay) Listen(take func(syscall.Signal) bool, orphaned func()) {
	r.conn.SetDeadline(time.Time{})
	go func() {
		b := make([]byte, 1)
		for {
			n, err := r.conn.Read(b)
			sig := syscall.Signal(b[0])
			if err != nil || n == 0 {
				if !r.parent || r.detached.Load() {
					return
				}
				orphaned()
				sig = syscall.SIGTERM
			}
			if !take(sig) || err != nil {
				return
			}
		}
	}()
}

// ExitBySignal ends this process by a signal. If the signal does not end it, the process
// exits with the status that a shell gives for that signal.
func ExitBySignal(sig syscall.Signal) {
	raise(sig)
	os.Exit(128 + int(sig))
}
