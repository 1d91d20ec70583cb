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
	master := dial(t, s.svc.Port())
	for i := range 20 {
		master.send(fmt.Sprint("CREATE room-", i), fmt.Sprint("DELETE room-", i))
		master.until(fmt.Sprint("OK room-", i, " "))
		master.expect(fmt.Sprint("OK room-", i))
	}
	if trash, err := s.svc.Trash(); err != nil || len(trash) != 0 {
		t.Errorf("%+v, %v", trash, err)
	}
	s.create("operators")
	if err := s.svc.Remove("operators", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.Restore("operators"); err != nil {
		t.Error(err)
	}
	said := join(t, s.create("said"))
	said.send("hello")
	said.until("<guest-1> hello")
	master.send("DELETE said")
	master.expect("OK said")
	if back, err := s.svc.Restore("said"); err != nil || len(s.said(back.Name)) != 1 {
		t.Error(back, err)
	}
}

// Members get what is pending before the farewell though the trash has no space for
// their room: it is purged after.
func TestFullTrashAndDrain(t *testing.T) {
	s := newServer(t)
	s.stOpts.TrashBytes = 1
	s.start()
	port := s.create("lobby")
	slow, speaker := join(t, port), join(t, port)
	const lines = 5000 // more than its socket and the window of the log hold
	text := strings.Repeat("x", 1000)
	go func() {
		for i := range lines {
			fmt.Fprintf(speaker.conn, "%d %s\n", i, text)
		}
	}()
	want := speaker.collect(lines)
	master := dial(t, s.svc.Port())
	master.send("DELETE lobby")
	eventually(t, "the room is deleted", func() bool { trash, err := s.svc.Trash(); return err == nil && len(trash) == 1 })
	same(t, "the slow member", slow.collect(lines), want)
	slow.until("* lobby: chat room being deleted")
	master.expect("OK lobby")
	eventually(t, "the room is purged", func() bool { trash, err := s.svc.Trash(); return err == nil && len(trash) == 0 })
}
