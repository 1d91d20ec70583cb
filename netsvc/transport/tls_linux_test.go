package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/netsvc/transport"
)

// The engine does not wait for a client that does not read, and needs a bounded amount of
// memory for it; the client gets everything once it reads on.
func TestUnreadTLS(t *testing.T) {
	e := newEngine(t, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	slow, _, h := dialTLS(t, e, 0)
	quick, _, q := dialTLS(t, e, 0)
	in := bufio.NewReader(quick)
	hello := func() {
		t.Helper()
		io.WriteString(quick, "hello\n")
		if got, err := in.ReadString('\n'); err != nil || got != "hello\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	text := []byte(strings.Repeat("a line of twenty-one\n", 1<<18))
	h.say(text)
	if err := transport.PollUntil(ctx, func() bool { return h.conn.Full() && !h.conn.Writing() }); err != nil {
		t.Fatal("it is not full")
	}
	hello()
	if n := h.conn.Kept(); n == 0 || n > 32<<10 {
		t.Error(n, "bytes are kept")
	}
	if waiting, _ := h.conn.ProbePeer(time.Minute); !waiting {
		t.Error("nothing is on its way")
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(slow, got); err != nil || !bytes.Equal(got, text) {
		t.Error("it gets something else:", err)
	}
	if err := transport.PollUntil(ctx, func() bool { return !h.conn.Full() }); err != nil || h.conn.Kept() > 0 {
		t.Error(h.conn.Kept(), "bytes are kept in the end")
	}

	h.say(text)
	var err error
	most := 0
	for range 2000 { // as answers to requests for new keys
		if err = h.conn.Answer(make([]byte, 100)); err != nil {
			break
		}
		most = max(most, h.conn.Kept())
	}
	if err == nil || most > 64<<10 {
		t.Error(most, "bytes of answers are kept:", err)
	}
	hello()
	slow.NetConn().Close()
	quick.Close()
	<-h.finished
	<-q.finished
}

// The client updates its keys while lines go both ways.
func TestKeyUpdate(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	both(t, func(t *testing.T, e *transport.Engine) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, openssl, "s_client", "-tls1_3", "-connect", l.Addr().String())
		to, _ := cmd.StdinPipe()
		from, _ := cmd.StdoutPipe()
		cmd.Stderr = cmd.Stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		client, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		raw, h := serveTLS(t, e)
		go io.Copy(raw, client)
		go io.Copy(client, raw)
		in := bufio.NewReader(from)
		say := func(line, want string) {
			t.Helper()
			for io.WriteString(to, line); ; {
				if got, err := in.ReadString('\n'); err != nil {
					t.Fatal("waiting for", want, err)
				} else if got == want {
					return
				}
			}
		}
		for i := range 20 {
			line := fmt.Sprintf("line %d\n", i)
			say(line, line)
			say("K\n", "KEYUPDATE\n") // the server is to change its own, too
		}
		io.WriteString(to, "Q\n")
		io.Copy(io.Discard, in)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		raw.CloseWrite()
		<-h.finished
	})
}

// While the engine is frozen the handler gets no input, also none that TLS has read already.
func TestFreezeTLS(t *testing.T) {
	e := newEngine(t, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, s, h := dialTLS(t, e, 0)
	line := strings.Repeat("x", 99) + "\n"
	s.hold = 1
	io.WriteString(c, "b"+line[1:])
	for range 199 {
		io.WriteString(c, line)
	}
	s.release()
	<-h.reached
	frozen := make(chan error)
	go func() { frozen <- e.Freeze(ctx, func() {}) }()
	if err := transport.PollUntil(ctx, e.Suspended); err != nil {
		t.Fatal(err)
	}
	close(h.goOn)
	if err := <-frozen; err != nil {
		t.Fatal(err)
	}
	if !h.conn.HasInput() {
		t.Error("all was read")
	}
	before := h.took.Load()
	if before == 0 || before > 16<<10 {
		t.Error(before, "bytes were read")
	}
	e.Thaw()
	in := bufio.NewReader(c)
	for i := range 200 {
		if got, err := in.ReadString('\n'); err != nil || got[1:] != line[1:] {
			t.Fatalf("line %d: %q, %v", i, got, err)
		}
	}
	c.Close()
	<-h.finished
}

// After Abandon a conn that stays behind gets the pending output, and is not read any more.
func TestAbandonTLS(t *testing.T) {
	e := newEngine(t, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, _, h := dialTLS(t, e, 0)
	idle, _, i := dialTLS(t, e, 0)
	moved, m := dial(t, e)
	<-m.started
	if h.conn.Transferable() || !m.conn.Transferable() {
		t.Error("what can be moved")
	}
	text := []byte(strings.Repeat("a line of twenty-one\n", 1<<18))
	h.say(text)
	if err := e.Freeze(ctx, func() {}); err != nil {
		t.Fatal(err)
	}
	other, err := unix.Dup(m.conn.FD())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	m.conn.CloseAfterHandover()
	e.Abandon()
	turns := e.Turns()
	for range 1000 {
		io.WriteString(moved, "x")
		unix.Poll([]unix.PollFd{{Fd: int32(other), Events: unix.POLLIN}}, -1)
		unix.Read(other, make([]byte, 1))
	}
	if n := e.Turns() - turns; n > 20 {
		t.Error("an event loop wakes up for what another process has:", n)
	}
	took := h.took.Load()
	io.WriteString(c, "unheard\n")
	if err := transport.PollUntil(ctx, h.conn.HasInput); err != nil {
		t.Error("nothing has come")
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, text) {
		t.Error("it gets something else:", err)
	}
	if h.took.Load() != took {
		t.Error("it was heard")
	}
	for _, h := range []*echo{h, i} {
		h.conn.StopReading()
	}
	for _, c := range []io.Reader{c, idle} {
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
	}
	c.Close()
	idle.Close()
	<-h.finished
	<-i.finished
}

// Without a descriptor for a moment, a conn after a handshake does not start, and gives its
// connection back.
func TestNoDescriptorAfterHandshake(t *testing.T) {
	e := newEngine(t, false)
	raw, h := dialTo(t, e, func(s transport.Socket, addr netip.AddrPort) *transport.Conn {
		tcp := s.TCP(addr)
		c := e.Secure(tcp, &tls.Config{Certificates: certificates()})
		if err := c.Handshake(); err != nil {
			t.Error(err)
		}
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
		none := limit
		none.Cur = 3
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
			t.Error(err)
		}
		conn := e.ConnFromNet(c, tcp, addr)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
		if err := conn.Start(nil, false); err != unix.EMFILE {
			t.Error(err)
		}
		e.Refuse(conn.Detach(addr), "busy\n")
		return nil
	})
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	if text, err := io.ReadAll(c); err != nil || string(text) != "busy\n" {
		t.Errorf("%q, %v", text, err)
	}
	c.Close()
	<-h.started
}
