package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"roomd/netsvc/transport"
)

// newEngine is an engine that serves.
func newEngine(t *testing.T, portable bool) *transport.Engine {
	t.Helper()
	e := transport.New(transport.Options{
		Portable: portable, Log: slog.New(slog.DiscardHandler),
		DeadPeer: func() time.Duration { return time.Minute },
		MaxRead:  func() int { return 4 << 10 },
		Accepted: func() {}, OutOfDescriptors: func() {},
	})
	if err := errors.Join(e.Open(), e.Run()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// dial connects a client to a handler.
func dial(t *testing.T, e *transport.Engine) (client *net.TCPConn, h *echo) {
	t.Helper()
	return dialTo(t, e, e.NewConn)
}

// dialTo is dial with a function that makes the conn, and may wait.
func dialTo(t *testing.T, e *transport.Engine, conn func(transport.Socket, netip.AddrPort) *transport.Conn) (client *net.TCPConn, h *echo) {
	t.Helper()
	l, err := e.Listen(netip.MustParseAddr("127.0.0.1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	h = &echo{
		signal: make(chan struct{}, 1), finished: make(chan error, 1), started: make(chan struct{}),
		reached: make(chan struct{}), goOn: make(chan struct{}),
	}
	came := make(chan struct{})
	if err := l.Open(func(s transport.Socket, addr netip.AddrPort) {
		close(came)
		go func() {
			if h.conn = conn(s, addr); h.conn != nil {
				if err := h.conn.Start(h, false); err != nil {
					t.Error(err)
				}
			}
			close(h.started)
		}()
	}, ""); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	<-came
	l.DrainAndClose()
	return c.(*net.TCPConn), h
}

// echo is a handler that writes lines back. A line that begins with "w" waits for Resume, "b"
// for goOn, "z" for goOn within RunBlocking; "p" panics and "q" quits.
type echo struct {
	conn     *transport.Conn
	kept     []byte
	mu       sync.Mutex
	pending  bytes.Buffer // to be written
	err      error        // of the end
	panicked any
	signal   chan struct{}
	finished chan error
	started  chan struct{} // closed when conn is set

	took          atomic.Int64  // bytes
	reached, goOn chan struct{} // closed at a "b", and so that it goes on
}

func (h *echo) Data(p []byte) transport.Outcome {
	h.took.Add(int64(len(p)))
	switch p[0] {
	case 'b':
		close(h.reached)
		<-h.goOn
	case 'w', 'z':
		h.kept = bytes.Clone(p)
		return transport.Defer
	case 'p':
		panic("a bug")
	case 'q':
		return transport.Stop
	}
	return h.say(p)
}

func (h *echo) say(p []byte) transport.Outcome {
	h.mu.Lock()
	h.pending.Write(p)
	h.mu.Unlock()
	h.Writable()
	return transport.Continue
}

func (h *echo) Resume() transport.Outcome {
	p := h.kept
	h.kept = nil
	if p == nil {
		return transport.Continue
	}
	if p[0] == 'z' {
		h.conn.RunBlocking(func() { <-h.goOn })
	}
	return h.say(p)
}

func (h *echo) PeerClosed(err error) transport.Outcome {
	h.err = err
	return transport.Stop
}

func (h *echo) Writable() {
	if h.conn.AcquireWrite() {
		h.WritePending()
	}
}

func (h *echo) WritePending() {
	for {
		h.mu.Lock()
		n, err := h.conn.Write(h.pending.Bytes())
		if h.pending.Next(n); err != nil {
			h.pending.Reset()
		}
		h.mu.Unlock()
		if h.conn.ReleaseWrite() {
			return
		}
	}
}

// unsent is how many bytes the conn has not taken yet.
func (h *echo) unsent() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pending.Len()
}

func (h *echo) Finish() {
	for h.unsent() > 0 {
		h.WaitSignal(time.Millisecond)
	}
	h.conn.StopWriting()
	h.Writable() // the writing goroutine sees that it is over
	h.conn.Close(errors.Is(h.err, io.EOF))
	h.finished <- h.err
}

func (h *echo) Panicked(p any, _ []byte) { h.panicked = p }

func (h *echo) Signal() {
	select {
	case h.signal <- struct{}{}:
	default:
	}
}

func (h *echo) WaitSignal(d time.Duration) {
	select {
	case <-h.signal:
	case <-time.After(d):
	}
}

// both runs a test on event loops, where there are any, and on goroutines.
func both(t *testing.T, f func(*testing.T, *transport.Engine)) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprint("portable=", portable), func(t *testing.T) { f(t, newEngine(t, portable)) })
	}
}

// The handler gets the input until the peer closes, the handler stops, or StopReading; then
// Finish is called once.
func TestConn(t *testing.T) {
	both(t, func(t *testing.T, e *transport.Engine) {
		for _, end := range []string{"close", "quit", "panic", "end"} {
			t.Run(end, func(t *testing.T) {
				c, h := dial(t, e)
				<-h.started
				in := bufio.NewReader(c)
				for _, line := range []string{"hello\n", "wait\n", strings.Repeat("long", 500) + "\n"} {
					io.WriteString(c, line)
					if got, err := in.ReadString('\n'); err != nil || got != line {
						t.Fatalf("%q, %v, and not %q", got, err, line)
					}
				}
				want := error(nil)
				switch end {
				case "close":
					want = io.EOF
					c.CloseWrite()
				case "quit":
					io.WriteString(c, "quit\n")
				case "panic":
					io.WriteString(c, "panic\n")
				case "end":
					h.conn.StopReading()
				}
				if _, err := io.ReadAll(in); err != nil { // a gentle end
					t.Error(err)
				}
				c.Close()
				if err := <-h.finished; end != "end" && err != want {
					t.Errorf("the end is %v, and not %v", err, want)
				}
				if (h.panicked != nil) != (end == "panic") {
					t.Error("a panic:", h.panicked)
				}
			})
		}
	})
}

// While an engine is frozen nothing is read, no change begins, and no handler returns from
// RunBlocking; after the thaw all go on.
func TestFreeze(t *testing.T) {
	e := newEngine(t, false)
	if !e.CanHandOver() {
		t.Skip("nothing can be handed over on this system")
	}
	c, h := dial(t, e)
	<-h.started
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	far, away := dial(t, e)
	<-away.started
	io.WriteString(far, "zzz\n")
	if err := transport.PollUntil(ctx, func() bool { return !away.conn.Transferable() }); err != nil {
		t.Fatal("it is not away")
	}
	end := e.BeginChange()
	short, stop := context.WithTimeout(ctx, 10*time.Millisecond)
	defer stop()
	if err := e.Freeze(short, func() {}); err != transport.ErrChangeInProgress || e.Suspended() {
		t.Fatal("frozen while somebody is behind the gate:", err)
	}
	end()
	if err := e.Freeze(ctx, func() {}); err != nil {
		t.Fatal(err)
	}
	if _, ok := e.TryBeginChange(); ok || !e.Suspended() {
		t.Error("the gate is open")
	}
	io.WriteString(c, "hello\n")
	if err := transport.PollUntil(ctx, h.conn.HasInput); err != nil {
		t.Error("nothing has come, or it was read")
	}
	close(away.goOn)
	if away.conn.Transferable() {
		t.Error("it is back")
	}
	e.Thaw()
	if got, err := bufio.NewReader(far).ReadString('\n'); err != nil || got != "zzz\n" || !away.conn.Transferable() {
		t.Errorf("%q, %v, and not back", got, err)
	}
	if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != "hello\n" {
		t.Errorf("%q, %v", got, err)
	}
	if n := e.ClosingCount(); n != 0 {
		t.Error(n, "are left behind")
	}
	c.Close()
	<-h.finished
	far.Close()
	<-away.finished
}

// An idle conn costs no more than this and its handler.
func TestSizeOfConn(t *testing.T) {
	if n := unsafe.Sizeof(transport.Conn{}); n > 48 {
		t.Errorf("a conn has %d bytes", n)
	}
}
