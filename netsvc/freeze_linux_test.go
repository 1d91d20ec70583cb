package netsvc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// stillService is a server with a room without a password, lobby, and one with, den.
func stillService(t *testing.T) (s *Service, lobby *Room) {
	s, lobby = startBare(t, store.Options{}, 0)
	if _, _, err := s.Create("den", Creation{Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	return s, lobby
}

// A room is deleted on disk just when the server is brought to a stand: the other
// process has no such room, and is given nobody who waits before its gate.
func TestNobodyIsHandedOverForADeletedRoom(t *testing.T) {
	s, _ := stillService(t)
	if _, _, err := s.Create("vault", Creation{Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	ann, annIn := call(t, s, "den", "password")
	bob, bobIn := call(t, s, "vault", "password")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	end := s.engine.BeginChange() // the deletion begins
	frozen := make(chan error)
	go func() { frozen <- s.Freeze(ctx) }()
	if err := transport.PollUntil(ctx, s.engine.Suspended); err != nil {
		t.Fatal(err)
	}
	for c, in := range map[net.Conn]*bufio.Reader{ann: annIn, bob: bobIn} { // until it stands they are answered
		io.WriteString(c, "/who\n")
		if l, err := in.ReadString('\n'); !strings.Contains(l, "the password comes first") {
			t.Fatal(l, err)
		}
	}
	deleted := make(chan error)
	go func() { deleted <- s.deleteRoom(end, "den", "", "", "", func(*Room) error { return nil }) }()
	if err := <-frozen; err != nil {
		t.Fatal(err)
	}
	vault, err := s.room("vault")
	if err != nil {
		t.Fatal(err)
	}
	var over []passwordState
	if _, err := s.HandOver(func(kind string, v any, _ ...int) error {
		if all, ok := v.([]passwordState); ok {
			over = append(over, all...)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(over) != 1 || over[0].Room != vault.id {
		t.Errorf("handed over: %+v, and not just the one at room %d", over, vault.id)
	}
	s.Thaw()
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	if all, err := io.ReadAll(annIn); err != nil || !strings.HasSuffix(string(all), "* den: chat room being deleted\n") {
		t.Errorf("%q, %v", all, err)
	}
	io.WriteString(bob, "/pass secret\n")
	for l := ""; !strings.Contains(l, "you are guest-1"); {
		if l, err = bobIn.ReadString('\n'); err != nil {
			t.Fatal(l, err)
		}
	}
}

// A change that an operator asks for in a process that another one has taken over
// from is refused at once: nobody waits for what does not come.
func TestChangesOfAProcessThatIsLeft(t *testing.T) {
	s, _ := stillService(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	s.engine.Abandon()
	for name, change := range map[string]func() error{
		"create":   func() error { _, _, err := s.Create("attic", Creation{}); return err },
		"delete":   func() error { return s.Delete("den", "") },
		"restore":  func() error { _, err := s.Restore("den"); return err },
		"purge":    func() error { return s.Purge("den") },
		"rename":   func() error { _, err := s.Rename("den", "attic"); return err },
		"move":     func() error { _, err := s.Move("den", 20000); return err },
		"rebind":   func() error { _, err := s.Rebind("den"); return err },
		"set":      func() error { _, err := s.Set("den", func(*store.Settings) {}); return err },
		"topic":    func() error { return s.SetTopic("den", "x") },
		"password": func() error { return s.SetPassword("den", "x") },
		"say":      func() error { _, err := s.Say("", "x"); return err },
		"kick":     func() error { _, err := s.Kick([]uint64{1}, ""); return err },
		"ban":      func() error { _, _, err := s.Ban(store.Ban{Nick: "ann"}); return err },
		"unban":    func() error { return s.Unban(1) },
	} {
		var refused *wire.Error
		if err := change(); !errors.As(err, &refused) || refused.Code != wire.CodeBusy {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Thaw()
	if _, _, err := s.Create("attic", Creation{}); err != nil {
		t.Error("the server does not go on:", err)
	}
}

// A member that says /quit just when the server is brought to a stand has ended, and
// is handed over as such: what it said is read, and is not read again elsewhere.
func TestQuitWhileTheServerStands(t *testing.T) {
	s, r := stillService(t)
	c, in := call(t, s, "lobby", "you are guest-1")
	m := r.currentMembers()[0]
	if err := s.engine.StartFrozen(); err != nil { // the gate is shut, and the loops go on
		t.Fatal(err)
	}
	io.WriteString(c, "/quit\n")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := transport.PollUntil(ctx, func() bool { return m.endCause() == CauseLeft })
	s.engine.Thaw()
	if err != nil {
		t.Error("it has said /quit, and is there")
	}
	if _, err := io.ReadAll(in); err != nil {
		t.Error(err)
	}
}

// A member waits for its allowance when the server is brought to a stand, and its room
// is deleted just then: that ends in the process that is left, too.
func TestDeletionInAProcessThatIsLeft(t *testing.T) {
	s, r := stillService(t)
	o := *s.opts()
	o.LinesPerSecond, o.Burst = 0.01, 1
	s.options.Store(&o)
	c, in := call(t, s, "lobby", "you are guest-1")
	io.WriteString(c, "one\ntwo\nthree\n")
	hear(t, in, "<guest-1> one\n")
	m := r.currentMembers()[0]
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := transport.PollUntil(ctx, func() bool { return m.out.is(isThrottled) }); err != nil {
		t.Fatal("it does not wait for its allowance")
	}
	end := s.engine.BeginChange() // the deletion begins
	frozen := make(chan error)
	go func() { frozen <- s.Freeze(ctx) }()
	if err := transport.PollUntil(ctx, func() bool { return !m.out.is(isThrottled) }); err != nil {
		t.Fatal("it does not look around")
	}
	deleted := make(chan error, 1)
	go func() { deleted <- s.deleteRoom(end, "lobby", "", "", "", func(*Room) error { return nil }) }()
	if err := <-frozen; err != nil {
		t.Fatal(err)
	}
	s.engine.Abandon()
	select {
	case err := <-deleted:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("the deletion does not end")
	}
	s.Thaw()
	if all, err := io.ReadAll(in); err != nil || !strings.HasSuffix(string(all), "* lobby: chat room being deleted\n") {
		t.Errorf("%q, %v", all, err)
	}
}

// A member that waits for its turn at the disk does not keep the server from being
// brought to a stand, and gets all of it when the server goes on.
func TestNobodyWaitsForTheDiskWhileTheServerStands(t *testing.T) {
	for _, command := range []string{"/history 5", "/since 0", "/search one"} {
		t.Run(command, func(t *testing.T) {
			s, r := stillService(t)
			c, in := call(t, s, "lobby", "you are guest-1")
			io.WriteString(c, "one\n")
			hear(t, in, "> one\n")
			for range cap(s.diskReaders) { // all turns are taken
				s.diskReaders <- struct{}{}
			}
			m := r.currentMembers()[0]
			fmt.Fprintln(c, command)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := transport.PollUntil(ctx, func() bool { return m.out.conn.Writing() }); err != nil {
				t.Fatal("nothing is read for it")
			}
			if err := s.Freeze(ctx); err != nil {
				t.Error(err)
			} else {
				s.Thaw()
			}
			for range cap(s.diskReaders) {
				<-s.diskReaders
			}
			hear(t, in, "> one\n")
			io.WriteString(c, "/ping\n")
			hear(t, in, "* pong ")
		})
	}
}

// What was answered before a request that has to wait for the server to go on is written
// at once: it would not be known in the other process.
func TestAnswersDoNotWaitWhileTheServerStands(t *testing.T) {
	s, _ := stillService(t)
	o := *s.opts()
	o.CreateAnyone = true
	s.options.Store(&o)
	c := s.client(t, s.Port())
	defer c.Close()
	if err := s.engine.StartFrozen(); err != nil { // the gate is shut, and the loops go on
		t.Fatal(err)
	}
	c.say("LIST nothing\nCREATE attic\n")
	c.hear("OK 0")
	s.engine.Thaw()
	c.hear("OK attic ")

	c = s.client(t, func() int { r, _ := s.room("den"); return r.port() }())
	defer c.Close()
	c.hear("password")
	c.say("/pass wrong\n/pass secret\n/ping\n")
	for _, want := range []string{"not the password", "you are guest-1", "* pong"} {
		c.hear(want)
	}
}

// The kernel gives the error of a reset once. If the server is frozen then, the session handles
// the end of the input later, as if the peer had closed its side: the cause is the same, and the
// unfinished last line is not said.
func TestResetBeforeAFreeze(t *testing.T) {
	s, lobby := startBare(t, store.Options{}, 0)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	addr := netip.MustParseAddrPort("127.0.0.1:1")
	for _, errs := range [][]error{{syscall.ECONNRESET}, {syscall.ECONNRESET, io.EOF}, {syscall.ETIMEDOUT, io.EOF}} {
		l := newLineSession(lobby, s.engine.NewConn(transport.Socket(fds[0]), addr), addr, lobby.guest())
		var cause Cause
		for _, err := range errs {
			l.framer.Cut([]byte("half"))
			cause, _ = l.handleEndOfInput(err)
		}
		if cause != CauseVanished || l.begun {
			t.Errorf("%v: %s, said %v", errs, cause, l.begun)
		}
	}
}
