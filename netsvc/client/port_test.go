package client_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"roomd/netsvc"
	"roomd/netsvc/client"
)

// mapped is a network with forwarded ports.
type mapped map[string]string

func (m mapped) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if to, ok := m[addr]; ok {
		addr = to
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// port is where a room of the server is reached.
func (s *server) port(room string) string {
	s.T.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Room(room).Port))
}

// With mapped ports the number that a server gives may be another server's room: nothing is
// sent there, and Join fails. A member that comes back tries again.
func TestPortOfAnotherRoom(t *testing.T) {
	ours, theirs := newServer(t), newServer(t)
	ours.Create("Foo")
	theirs.Create("bar")
	if _, _, err := theirs.Service.Create("locked", netsvc.Creation{Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	ctx := soon(t)
	witness := join(t, theirs.dial(nil), "bar", client.JoinOptions{Nick: "witness"})
	ways := mapped{ours.port("Foo"): theirs.port("bar")}
	c, err := client.Dial(ctx, ours.addr(), client.Options{Dialer: ways})
	if err != nil {
		t.Fatal(err)
	}
	var refusal *client.Error
	for _, o := range []client.JoinOptions{{}, {Nick: "ann", From: client.After(0)}, {Nick: "ann", Password: "pass", From: client.Newest(5)}} {
		if _, err := c.Join(ctx, "foo", o); !errors.As(err, &refusal) || refusal.Code != "wrong-room" || client.IsTemporary(err) {
			t.Fatal(err)
		}
	}
	ways[ours.port("Foo")] = theirs.port("locked")
	if _, err := c.Join(ctx, "foo", client.JoinOptions{Password: "secret"}); !errors.As(err, &refusal) || refusal.Code != "wrong-room" {
		t.Fatal(err)
	}
	if _, err := witness.Send(ctx, "anybody?"); err != nil {
		t.Fatal(err)
	}
	for {
		ev, err := witness.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if ev.Type == client.Nick || ev.Stored() && !ev.Own {
			t.Fatal("it was spoken to:", ev)
		}
		if ev.Stored() {
			break
		}
	}
	// A member that meets another room for a while comes back to its own.
	delete(ways, ours.port("Foo"))
	roads := &switched{ways: ways, wire: new(wire)}
	c, err = client.Dial(ctx, ours.addr(), client.Options{Dialer: roads})
	if err != nil {
		t.Fatal(err)
	}
	r := join(t, c, "FOO", client.JoinOptions{Nick: "ann"})
	if r.Name() != "Foo" {
		t.Fatal(r.Name())
	}
	roads.lead(ours.port("Foo"), theirs.port("bar"))
	roads.cut()
	next(t, r, client.Offline)
	eventually(t, "the member is led to the other room", func() bool { return roads.led() > 0 })
	roads.lead(ours.port("Foo"), ours.port("Foo"))
	if _, err := r.Send(ctx, "back"); err != nil {
		t.Fatal(err)
	}
	if got := theirs.history("bar"); len(got) != 1 {
		t.Fatal(got)
	}
}

// switched is a network whose ports can be forwarded, and whose connections can be cut.
type switched struct {
	*wire
	mu   sync.Mutex
	ways mapped
	n    int // connections that were led elsewhere
}

func (s *switched) lead(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ways[from] = to
}

func (s *switched) led() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *switched) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	if to, ok := s.ways[addr]; ok && to != addr {
		addr = to
		s.n++
	}
	s.mu.Unlock()
	return s.wire.DialContext(ctx, network, addr)
}

// A room's port is no master port: no request to it gets into the room.
func TestPortOfARoomIsNoMasterPort(t *testing.T) {
	s := newServer(t)
	s.Create("lobby")
	if _, _, err := s.Service.Create("den", netsvc.Creation{Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	ctx := soon(t)
	for _, room := range []string{"lobby", "den"} {
		var refusal *client.Error
		_, err := client.Dial(ctx, s.port(room), client.Options{})
		if !errors.As(err, &refusal) || refusal.Code != "not-master" || client.IsTemporary(err) {
			t.Fatal(err)
		}
		if room == "lobby" && !strings.Contains(err.Error(), "lobby") {
			t.Error("it does not say which room:", err)
		}
	}
	if got := s.history("lobby"); len(got) != 0 {
		t.Fatal("the room has heard", got)
	}
}

// Nothing is sent to a port before it has greeted.
func TestNothingIsSaidBeforeTheGreeting(t *testing.T) {
	master, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	room, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer room.Close()
	_, port, _ := net.SplitHostPort(room.Addr().String())
	go func() {
		for {
			c, err := master.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			if strings.HasPrefix(line, "JOIN") {
				io.WriteString(c, "OK lobby "+port+" 0\n")
			} else {
				io.WriteString(c, "ERR bad-request there is no such request\n")
			}
			c.Close()
		}
	}()
	heard := make(chan string, 1)
	go func() {
		c, err := room.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "220 mail.example.org ESMTP\r\n")
		all, _ := io.ReadAll(c)
		heard <- string(all)
	}()
	ctx := soon(t)
	c, err := client.Dial(ctx, master.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var refusal *client.Error
	if _, err := c.Join(ctx, "lobby", client.JoinOptions{Nick: "ann", Password: "secret"}); !errors.As(err, &refusal) || refusal.Code != client.NotRoomd || client.IsTemporary(err) {
		t.Fatal(err)
	}
	if all := <-heard; all != "" {
		t.Fatalf("it was told %q", all)
	}
}
