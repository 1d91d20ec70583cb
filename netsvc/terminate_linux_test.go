package netsvc_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// A ban, the stop, and an upgrade that cannot hand them over end connections to the master port whose
// clients do not read: the clients have a second for their answers.
func TestUnreadWhereItEnds(t *testing.T) {
	for name, end := range map[string]func(s *server) error{
		"ban": func(s *server) error {
			_, _, err := s.Service.Ban(store.Ban{Addr: "127.0.0.2"})
			return err
		},
		"stop": func(s *server) error {
			go s.Service.Stop()
			return nil
		},
		"upgrade": func(s *server) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := s.Service.Freeze(ctx); err != nil {
				return err
			}
			_, err := s.Service.HandOver(func(string, any, ...int) error { return nil })
			defer s.Service.Thaw() // for the stop
			began := time.Now()
			s.Service.Abandon(patience) // returns once those are closed that stay behind
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the old process was needed for %v", took)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.Options.RequestRate = 0
			s.Start()
			for i := range 20 {
				info, _, err := s.Service.Create(fmt.Sprint("room-", i), netsvc.Creation{})
				if err != nil {
					t.Fatal(err)
				}
				p := join(t, info.Port)
				p.Send("/topic " + strings.Repeat("t", 4000))
				p.Until("* guest-1 set the topic")
				p.Conn.Close()
			}
			p := dialFrom(t, "127.0.0.2", s.Service.Port())
			p.TCP.SetReadBuffer(2048)
			io.WriteString(p.Conn, strings.Repeat("LIST\n", 100))
			// What has come does not grow any more, and not all has: the server waits.
			last := 0
			netsvctest.Eventually(t, "the server waits", func() bool {
				before := last
				raw, _ := p.TCP.SyscallConn()
				raw.Control(func(fd uintptr) { last, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
				return last > 0 && last == before && len(s.Service.Conns("127.0.0.2")) == 1
			})
			began := time.Now()
			if err := end(s); err != nil {
				t.Fatal(err)
			}
			netsvctest.Eventually(t, "the connection is closed", func() bool { return len(s.Service.Conns("127.0.0.2")) == 0 })
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A deletion ends the connections before a room's password whose clients do not read, and does not
// wait for them. Their time for the password does not count.
func TestUnreadBeforeThePassword(t *testing.T) {
	s := startServer(t)
	port := s.createLocked("den", "secret")
	const callers = 20
	for i := range callers {
		p := dialFrom(t, "127.0.0.2", port)
		p.TCP.SetReadBuffer(2048)
		if i%2 == 0 { // answers that it does not read either
			io.WriteString(p.Conn, strings.Repeat("\xff\xfd\x01", 500)+"\nhello\n")
		}
	}
	netsvctest.Eventually(t, "all wait", func() bool { return len(s.Service.Conns("127.0.0.2")) == callers })
	began := time.Now()
	if err := s.Service.Delete("den", ""); err != nil {
		t.Fatal(err)
	}
	netsvctest.Eventually(t, "they are closed", func() bool { return len(s.Service.Conns("127.0.0.2")) == 0 })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
