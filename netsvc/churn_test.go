package netsvc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Operators give every command there is, all at once, while clients come, speak and
// go: under the race detector. What is kept twice agrees at every look on the way.
func TestChurn(t *testing.T) {
	s := newServer(t)
	s.Options.Replay, s.Options.MaxMembers = 0, 0
	s.Start()
	kept := s.Create("kept") // so that clients find something
	const workers, steps = 6, 60
	c := &churn{server: s}
	var all, looks sync.WaitGroup
	done := make(chan struct{})
	looks.Go(func() {
		for {
			if got := s.Service.Inconsistencies(); got != nil {
				t.Error(got)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for w := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for range steps {
				name, other := c.name(random), c.name(random)
				ops := c.operations(name, other, random)
				ops[random.IntN(len(ops))]()
			}
		})
		all.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(w)))
			for range steps {
				port := kept
				if random.IntN(2) == 0 {
					if info, err := s.Service.Room(c.name(random)); err == nil {
						port = info.Port
					}
				}
				c.visit(port, random)
			}
		})
	}
	all.Wait()
	close(done)
	looks.Wait()
	if n := c.made.Load(); n == 0 {
		t.Error("no room was made")
	}
	if n := c.gone.Load(); n == 0 {
		t.Error("no room was deleted")
	}
	if n := s.Service.Counters().Lines; n == 0 {
		t.Error("nobody spoke")
	}
}

type churn struct {
	*server
	made, gone atomic.Int64
}

// name is one of a few, so that operators meet.
func (c *churn) name(random *rand.Rand) string { return fmt.Sprint("room-", random.IntN(5)) }

// want fails the test for an error that is not the caller's fault.
func (c *churn) want(err error) bool {
	if _, _, refused := netsvc.ClientError(err); err != nil && !refused && !errors.Is(err, store.ErrNoBan) {
		c.T.Error(err)
	}
	return err == nil
}

// operations are all that an operator can do, with two rooms.
func (c *churn) operations(name, other string, random *rand.Rand) []func() {
	svc := c.Service
	create := func() {
		if _, _, err := svc.Create(name, netsvc.Creation{By: "churn", Topic: "a topic"}); c.want(err) {
			c.made.Add(1)
		}
	}
	remove := func() {
		if c.want(svc.Delete(name, "")) {
			c.gone.Add(1)
		}
	}
	restore := func() { _, err := svc.Restore(name); c.want(err) }
	ban := func(mute bool) func() {
		return func() {
			room, err := svc.RoomID(name)
			if !c.want(err) {
				return
			}
			b := store.Ban{Room: room, Nick: "guest-1", Mute: mute, Created: time.Now(), Until: time.Now().Add(time.Minute)}
			svc.CountTargets(b)
			all, _, err := svc.Ban(b)
			if c.want(err) && random.IntN(2) == 0 {
				c.want(svc.Unban(all[0].ID))
			}
		}
	}
	return []func(){
		create, create, create, remove, remove, restore, restore, ban(false), ban(true),
		func() {
			c.want(svc.DeleteIf(name, func(*netsvc.Room) error { return wire.Errorf(wire.CodeDenied, "no") }))
		},
		func() { c.want(svc.Purge(name)) },
		func() { _, err := svc.Rename(name, other); c.want(err) },
		func() { _, err := svc.Move(name, c.Options.Ports[0]+random.IntN(40)); c.want(err) },
		func() { _, err := svc.Rebind(name); c.want(err) },
		func() {
			_, err := svc.Set(name, func(o *store.Settings) { o.ReadOnly = !o.ReadOnly })
			c.want(err)
		},
		func() { _, err := svc.Settings(name); c.want(err) },
		func() { c.want(svc.SetTopic(name, other)) },
		func() { _, err := svc.Say("", "hello"); c.want(err) },
		func() { _, err := svc.Say(name, "hello"); c.want(err) },
		func() {
			all, err := svc.Members("")
			if c.want(err) && len(all) > 0 {
				svc.Kick([]uint64{all[random.IntN(len(all))].ID}, "")
			}
		},
		func() { _, err := svc.Members(name); c.want(err) },
		func() { svc.FindMembers("guest-1"); svc.Mutes("guest-1"); svc.Bans() },
		func() { svc.Conns("") },
		func() {
			for _, r := range svc.Rooms() {
				svc.RoomName(r.ID)
			}
		},
		func() { _, err := svc.Room(name); c.want(err) },
		func() { _, _, err := svc.Lines(context.Background(), name, 0, 10); c.want(err) },
		func() { _, err := svc.Search(context.Background(), name, "o", time.Time{}, 10); c.want(err) },
		func() { _, err := svc.Trash(); c.want(err); _, err = svc.Trashed(name); c.want(err) },
		func() {
			svc.Status()
			svc.States()
			svc.List()
			svc.Ports()
			svc.Lag()
			svc.Counters()
			svc.Connections()
		},
		func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			c.want(svc.Health(ctx))
		},
		func() {
			next := c.Options
			next.MaxRooms = 50 + random.IntN(14)
			change, err := svc.Prepare(next)
			switch {
			case !c.want(err):
			case random.IntN(2) == 0:
				change.Undo()
			default:
				change.Commit()
			}
		},
	}
}

// visit joins whatever room has the port, and says something or leaves at once.
func (c *churn) visit(port int, random *rand.Rand) {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return // the room has just gone
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	p := newPeer(c.T, conn.(*net.TCPConn))
	if _, err := p.Next(); err != nil {
		return
	}
	text := []string{"hello\nworld\n", "/nick somebody\n", "/json\n/who\n", "one\n/quit\n", ""}[random.IntN(5)]
	if _, err := conn.Write([]byte(text)); err != nil {
		return
	}
	if random.IntN(2) == 0 {
		p.Reset() // what it said may be on its way still
		return
	}
	p.HalfClose()
	for err == nil {
		_, err = p.Next()
	}
}
