package netsvc_test

import (
	"fmt"
	"strings"
	"testing"
)

// Rooms that a client makes and deletes without a line in them leave nothing; what
// the operator deletes can be restored.
func TestEmptyRoomsAreNotKept(t *testing.T) {
	s := startServer(t)
	master := dial(t, s.Service.Port())
	for i := range 20 {
		master.Send(fmt.Sprint("CREATE room-", i), fmt.Sprint("DELETE room-", i))
		master.Until(fmt.Sprint("OK room-", i, " "))
		master.Expect(fmt.Sprint("OK room-", i))
	}
	if trash, err := s.Service.Trash(); err != nil || len(trash) != 0 {
		t.Errorf("%+v, %v", trash, err)
	}
	s.Create("operators")
	if err := s.Service.Delete("operators", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Service.Restore("operators"); err != nil {
		t.Error(err)
	}
	said := join(t, s.Create("said"))
	said.Send("hello")
	said.Until("<guest-1> hello")
	master.Send("DELETE said")
	master.Expect("OK said")
	if back, err := s.Service.Restore("said"); err != nil || len(s.said(back.Name)) != 1 {
		t.Error(back, err)
	}
}

// Members get what is pending before the farewell though the trash has no space for
// their room: it is purged after.
func TestFullTrashAndDrain(t *testing.T) {
	s := newServer(t)
	s.StoreOptions.TrashBytes = 1
	s.Start()
	port := s.Create("lobby")
	slow, speaker := join(t, port), join(t, port)
	const lines = 5000 // more than its socket and the window of the log hold
	text := strings.Repeat("x", 1000)
	go func() {
		for i := range lines {
			fmt.Fprintf(speaker.Conn, "%d %s\n", i, text)
		}
	}()
	want := speaker.collect(lines)
	master := dial(t, s.Service.Port())
	master.Send("DELETE lobby")
	eventually(t, "the room is deleted", func() bool { trash, err := s.Service.Trash(); return err == nil && len(trash) == 1 })
	same(t, "the slow member", slow.collect(lines), want)
	slow.Until("* lobby: chat room being deleted")
	master.Expect("OK lobby")
	eventually(t, "the room is purged", func() bool { trash, err := s.Service.Trash(); return err == nil && len(trash) == 0 })
}
