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

// Relay connects the process that serves with the one that was the server before.
// One byte that is the number of a signal goes to the process that serves.
// The other way goes a PID, in four bytes: that process serves from now on.
type Relay struct {
	conn *net.UnixConn
	// parent says that the other process waits for the server: if it is gone
	// nobody would know of us.
	parent   bool
	detached atomic.Bool // to the successor
}

// Forward passes a signal on to the process that serves.
func (r *Relay) Forward(sig syscall.Signal) {
	r.conn.SetWriteDeadline(time.Now().Add(time.Second))
	r.conn.Write([]byte{byte(sig)}) // a process that is gone needs no signal
}

// SendPID tells a parent that another process serves from now on, and leaves the
// connection to it.
func (r *Relay) SendPID(pid int) error {
	r.detached.Store(true)
	defer r.conn.Close()
	r.conn.SetDeadline(time.Now().Add(time.Second))
	_, err := r.conn.Write(binary.BigEndian.AppendUint32(nil, uint32(pid)))
	return err
}

// receivePID waits for the PID of the process that serves from now on. At the end of
// all that could send one the error is io.EOF.
func (r *Relay) receivePID() (pid int, err error) {
	var b [4]byte
	_, err = io.ReadFull(r.conn, b[:])
	return int(binary.BigEndian.Uint32(b[:])), err
}

// Listen starts a goroutine that calls take for each signal that the other process
// passes on, until that one ends or take returns false. If the other process waits for
// the server and ends, orphaned is called, and then take for SIGTERM.
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

// ExitBySignal ends the process by a signal, or with the status that a shell has for it
// where that is not possible.
func ExitBySignal(sig syscall.Signal) {
	raise(sig)
	os.Exit(128 + int(sig))
}
