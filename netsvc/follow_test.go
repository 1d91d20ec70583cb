package netsvc_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/wire"
	"roomd/store"
)

// A change that somebody else makes at the store has the effect of one that is asked
// for here: on the rooms and their ports, on members, on what operators see, and on
// the log.
func TestChangesFromElsewhere(t *testing.T) {
	made := time.Now().UTC().Add(-time.Minute)
	over := func(line string) store.Audit {
		return store.Audit{Time: made, UID: -1, From: "192.0.2.7:1", Door: store.DoorMaster, Line: line, Result: "done"}
	}
	const lobby, trashed = 1, 2 // IDs
	for name, f := range map[string]struct {
		here, there func(s *server) error
		ends        string // members that it ends
	}{
		"create": {func(s *server) error {
			_, _, err := s.Service.Create("Hall", netsvc.Creation{By: "ann", Topic: "be kind"})
			return err
		}, func(s *server) error {
			r := store.Room{Name: "Hall", Key: "hall", Port: s.Options.Ports[0] + 2, Created: made, Topic: "be kind"}
			_, err := s.Store.CreateAll([]store.Room{r}, "ann")
			return err
		}, ""},
		"create over the network": {func(s *server) error {
			_, _, err := s.Service.Create("hall", netsvc.Creation{Addr: "192.0.2.7:1"})
			return err
		}, func(s *server) error {
			r := store.Room{Name: "hall", Key: "hall", Port: s.Options.Ports[0] + 2, Created: made, Creator: "192.0.2.7:1"}
			_, err := s.Store.Create(r, over("CREATE hall"))
			return err
		}, ""},
		"delete": {func(s *server) error {
			return s.Service.Delete("lobby", "it is late")
		}, func(s *server) error { return s.Store.Delete(lobby, "it is late") }, "ann bob"},
		"delete over the network": {func(s *server) error {
			m := dialFrom(t, "127.0.0.1", s.Service.Port())
			m.Send("DELETE lobby")
			m.Expect("OK lobby")
			return nil
		}, func(s *server) error { return s.Store.Delete(lobby, "", over("DELETE lobby")) }, "ann bob"},
		"rename": {func(s *server) error {
			_, err := s.Service.Rename("lobby", "Hall")
			return err
		}, func(s *server) error {
			_, err := s.Store.Update(lobby, store.Edit{Name: new("Hall"), Key: new("hall")})
			return err
		}, ""},
		"move": {func(s *server) error {
			_, err := s.Service.Move("lobby", s.Options.Ports[1])
			return err
		}, func(s *server) error {
			_, err := s.Store.Update(lobby, store.Edit{Port: &s.Options.Ports[1]})
			return err
		}, ""},
		"topic": {func(s *server) error {
			return s.Service.SetTopic("lobby", "be kind")
		}, func(s *server) error {
			_, err := s.Store.Update(lobby, store.Edit{Topic: new("be kind")})
			return err
		}, ""},
		"settings": {func(s *server) error {
			_, err := s.Service.Set("lobby", func(own *store.Settings) { own.ReadOnly, own.Members = true, new(1) })
			return err
		}, func(s *server) error {
			_, err := s.Store.Update(lobby, store.Edit{Settings: &store.Settings{ReadOnly: true, Members: new(1)}})
			return err
		}, ""},
		"password": {func(s *server) error {
			return s.Service.SetPassword("lobby", "secret")
		}, func(s *server) error {
			_, err := s.Store.Update(lobby, store.Edit{Password: new("$argon2id$v=19$m=65536,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")})
			return err
		}, ""},
		"restore": {func(s *server) error {
			_, err := s.Service.Restore("old")
			return err
		}, func(s *server) error {
			_, err := s.Store.Restore(trashed, s.Options.Ports[0]+1, nil)
			return err
		}, ""},
		"purge": {func(s *server) error {
			return s.Service.Purge("old")
		}, func(s *server) error { return s.Store.Purge(trashed) }, ""},
		"ban": {func(s *server) error {
			_, _, err := s.Service.Ban(store.Ban{Nick: "bob", Reason: "noise", By: "ann", Created: made})
			return err
		}, func(s *server) error {
			_, err := s.Store.AddBans(nil, store.Ban{Nick: "bob", Reason: "noise", By: "ann", Created: made})
			return err
		}, "bob"},
		"mute": {func(s *server) error {
			_, _, err := s.Service.Ban(store.Ban{Nick: "bob", Room: lobby, Mute: true, Created: made})
			return err
		}, func(s *server) error {
			_, err := s.Store.AddBans(nil, store.Ban{Nick: "bob", Room: lobby, Mute: true, Created: made})
			return err
		}, ""},
		"unban": {func(s *server) error {
			return s.Service.Unban(1)
		}, func(s *server) error { return s.Store.RemoveBans(1) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			want := effect(t, s, f.here, f.ends, "")
			s.Path = filepath.Join(t.TempDir(), "roomd.db")
			effect(t, s, f.there, f.ends, want)
		})
	}
}

// addresses are those of clients, whose ports differ from one run to the next.
var addresses = regexp.MustCompile(`127\.0\.0\.1:\d+|192\.0\.2\.7:1`)

// effect is all that is to be seen of a change, on a server that it starts and stops.
// With want it waits until it is that.
func effect(t *testing.T, s *server, change func(*server) error, ends, want string) (got string) {
	defer func() {
		if t.Failed() {
			t.Errorf("there is to be seen:\n%s\nand not:\n%s", got, want)
		}
	}()
	log := new(syncBuffer)
	s.Options.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	s.Start()
	defer s.Stop()
	port := s.Create("lobby")
	s.Create("old")
	old := join(t, s.Room("old").Port)
	old.Send("so it was")
	old.Until("<guest-1> so it was")
	old.Conn.Close()
	if err := s.Service.Delete("old", ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Service.Ban(store.Ban{Nick: "eve", Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	ann, bob := join(t, port), join(t, port)
	ann.Send("/nick ann")
	bob.Until("* guest-1 is now ann")
	bob.Send("/nick bob")
	bob.Until("* guest-2 is now bob")
	ann.Until("* guest-2 is now bob")
	log.Reset()
	w := s.Service.Watch(func(*netsvc.Event) bool { return true })
	defer w.Close()
	if err := change(s); err != nil {
		t.Fatal(err)
	}
	var members []string
	for name, p := range map[string]*peer{"ann": ann, "bob": bob} {
		if !strings.Contains(ends, name) {
			p.Send("/ping")
		}
		for l, err := "", error(nil); l != "* pong 0" && err == nil; {
			l, err = p.Next()
			members = append(members, fmt.Sprint(name, ": ", l, err))
		}
	}
	var events []string
	look := func() bool {
		for {
			select {
			case h := <-w.C:
				h.Time = time.Time{}
				events = append(events, fmt.Sprintf("%+v", h))
				continue
			default:
			}
			break
		}
		rooms := s.Service.Rooms()
		for i := range rooms {
			rooms[i].Created, rooms[i].Spoke, rooms[i].Rate = time.Time{}, time.Time{}, 0
		}
		list := s.Service.List()
		for i := range list {
			list[i].Created = time.Time{}
		}
		trash, err := s.Service.Trash()
		for i := range trash {
			trash[i].Deleted = time.Time{}
		}
		text, failed := json.Marshal([]any{list, rooms, s.Service.Ports(), s.Service.States(), trash, len(s.Service.Bans()), s.Service.Counters().Ended, s.Service.Inconsistencies()})
		if err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		all := slices.Concat(members, events, strings.Split(log.String(), "\n"), []string{string(text)})
		slices.Sort(all) // of two members it does not matter which ends first
		got = addresses.ReplaceAllString(strings.Join(all, "\n"), "somewhere")
		return want == "" || got == want
	}
	eventually(t, "it is the same", look)
	for _, r := range s.Service.List() {
		eventually(t, "its port is bound", func() bool {
			c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", r.Port))
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		p := dial(t, r.Port)
		p.Line()
		p.Conn.Close()
	}
	ann.Conn.Close()
	bob.Conn.Close()
	return got
}

// A room that is deleted drains still when one from elsewhere has its name and its
// port; that one's lines and another port are followed, too.
func TestChangesFromElsewhereMeetOurs(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	slow, speaker := join(t, port), join(t, port)
	go func() {
		for i := range 20000 { // more than a socket holds
			fmt.Fprintln(speaker.Conn, i, strings.Repeat("x", 200))
		}
	}()
	eventually(t, "it is behind", func() bool { return s.Service.Rooms()[0].Worst > 5000 })
	if err := s.Store.Delete(1, ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Service.Create("lobby", netsvc.Creation{}); code(err) != wire.CodeExists {
		t.Errorf("the name of a room that drains: %v", err)
	}
	k, err := s.Store.Create(store.Room{Name: "Lobby", Key: "lobby", Port: port})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is open", func() bool { return s.Service.States()["open"] == 1 })
	ann := join(t, port)
	if n := s.Service.States(); n["closing"] != 1 {
		t.Errorf("nothing drains: %v", n)
	}
	slow.Until("* lobby: chat room being deleted")
	slow.End()
	eventually(t, "it is gone", func() bool { return s.Service.States()["closing"] == 0 })
	if p := s.Service.Ports(); p.Free != p.Last-p.First || len(p.Resting) != 0 {
		t.Errorf("%+v", p)
	}
	post := &store.Post{Room: k.ID, Line: store.Line{Kind: store.Topic, From: "bob", Text: "from elsewhere"}}
	if err := s.Store.Submit(t.Context(), post); err != nil {
		t.Fatal(err)
	}
	ann.Expect("* bob set the topic: from elsewhere")
	if got := s.Room("Lobby").Topic; got != "from elsewhere" {
		t.Errorf("the topic is %q", got)
	}
	// A port that another program has is waited for.
	thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.Options.Ports[1]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store.Update(k.ID, store.Edit{Port: &s.Options.Ports[1]}); err != nil {
		t.Fatal(err)
	}
	ann.Expect(fmt.Sprintf("* the operator moved this room: it is on port %d from now on; members who are here stay", s.Options.Ports[1]))
	eventually(t, "it is unbound", func() bool { return s.Room("Lobby").Unbound != "" })
	s.Store.Flush()
	thief.Close()
	eventually(t, "it is bound", func() bool { return s.Room("Lobby").Unbound == "" })
	join(t, s.Options.Ports[1])
	if got := s.Service.Inconsistencies(); got != nil {
		t.Error(got)
	}
}

// hanging is a log that takes nothing until it is closed.
type hanging chan struct{}

func (h hanging) Write(p []byte) (int, error) {
	<-h
	return len(p), nil
}

// A log that hangs holds up nobody but those who have asked for a change.
func TestChangesWhileTheLogHangs(t *testing.T) {
	s := newServer(t)
	log := make(hanging)
	s.Options.Log = slog.New(slog.NewTextHandler(log, nil))
	s.Start()
	k, err := s.Store.Create(store.Room{Name: "lobby", Key: "lobby", Port: s.Options.Ports[0]})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the room is there", func() bool { return s.Service.States()["open"] == 1 })
	ann := join(t, k.Port)
	asked := make(chan error)
	go func() { asked <- s.Service.SetTopic("lobby", "be kind") }()
	ann.Expect("* the operator set the topic: be kind")
	ann.Send("hello")
	ann.Expect("<guest-1> hello")
	select {
	case <-asked:
		t.Error("it is answered, and the log says nothing")
	default:
	}
	close(log)
	if err := <-asked; err != nil {
		t.Error(err)
	}
}

// What is said and what is changed is shown in the order in which the store has it.
func TestChangesAndLinesInOrder(t *testing.T) {
	s := startServer(t)
	ann := join(t, s.Create("lobby"))
	for i := range 100 {
		post := &store.Post{Room: 1, Line: store.Line{Kind: store.Message, From: "bob", Text: fmt.Sprint(i)}}
		if err := s.Store.Submit(t.Context(), post); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Store.Update(1, store.Edit{Topic: new(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		ann.Expect(fmt.Sprint("<bob> ", i), fmt.Sprint("* the operator set the topic: ", i))
	}
}

// Changes from elsewhere go on while the server starts and stops.
func TestChangesWhileItStops(t *testing.T) {
	s := startServer(t)
	for range 5 {
		done := make(chan error)
		st := s.Store
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprint("room-", i%7)
				k, err := st.Create(store.Room{Name: name, Key: name, Port: s.Options.Ports[0] + i%7})
				if err == nil {
					_, err = st.Update(k.ID, store.Edit{Port: new(s.Options.Ports[0] + 20 + i%7)})
				}
				if err == nil {
					err = st.Delete(k.ID, "")
				}
				if err != nil {
					done <- err
					return
				}
			}
		}()
		eventually(t, "rooms come and go", func() bool { trash, err := s.Service.Trash(); return err == nil && len(trash) > 5 })
		s.Stop()
		if err := <-done; !errors.Is(err, store.ErrClosed) {
			t.Fatal(err)
		}
		s.Start()
		for _, r := range s.Service.List() {
			if err := s.Service.Delete(r.Name, ""); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.Service.Inconsistencies(); got != nil {
			t.Error(got)
		}
	}
}
