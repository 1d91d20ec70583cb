package client_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"roomd/netsvc/client"
	"roomd/store"
)

// A cursor fits its own history and no other one.
func TestCursor(t *testing.T) {
	s := newServer(t)
	s.Create("lobby")
	s.Create("dev")
	c, ctx := s.dial(nil), soon(t)
	ann := join(t, c, "lobby", client.JoinOptions{Nick: "ann"})
	dev := join(t, c, "dev", client.JoinOptions{Nick: "ann"})
	if n := ann.LineBytes(); n != s.Options.LineBytes {
		t.Error("a line may have", n)
	}
	for i := range 3 {
		for _, r := range []*client.Room{ann, dev} {
			if _, err := r.Send(ctx, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	at := func(r *client.Room) client.Cursor {
		t.Helper()
		ev := next(t, r, client.Message)
		return ev.Cursor()
	}
	first := at(ann)
	if second := at(ann); first.RoomID == "" || first.Epoch == "" || second.RoomID != first.RoomID || second.Epoch != first.Epoch || second.Seq <= first.Seq {
		t.Fatal(first, second)
	}
	r := join(t, c, "lobby", client.JoinOptions{From: client.AfterCursor(first)})
	if ev := next(t, r, client.Message, client.Gap); ev.Text != "1" {
		t.Fatal(ev)
	}
	wrong := func(room string, from client.From) {
		t.Helper()
		var refusal *client.Error
		if _, err := c.Join(ctx, room, client.JoinOptions{From: from}); !errors.As(err, &refusal) || refusal.Code != "wrong-history" || client.IsTemporary(err) {
			t.Error(room, from, err)
		}
	}
	wrong("dev", client.AfterCursor(first))
	wrong("lobby", client.AfterCursor(client.Cursor{Seq: 1 << 40}))
	wrong("lobby", client.After(1<<40).Strict())
	other := first
	other.Epoch = "another"
	wrong("lobby", client.AfterCursor(other))
	join(t, c, "lobby", client.JoinOptions{From: client.AfterCursor(client.Cursor{Seq: first.Seq})})
}

// A backup is restored under two members. One gets a Gap and the restored history; the strict
// one ends.
func TestHistoryPutBack(t *testing.T) {
	s := newServer(t)
	s.Create("lobby")
	c, ctx := s.dial(nil), soon(t)
	ann := join(t, c, "lobby", client.JoinOptions{Nick: "ann"})
	strict := join(t, c, "lobby", client.JoinOptions{From: client.After(0).Strict()})
	if _, err := ann.Send(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	ev := next(t, ann, client.Message)
	was := ev.Cursor()
	next(t, strict, client.Message)
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := store.WriteBackup(ctx, backup, 0, func(w io.Writer) error {
		_, err := s.Store.Snapshot(ctx, w, 0, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if err := os.Remove(s.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := store.RestoreFile(ctx, backup, s.Path, false, nil); err != nil {
		t.Fatal(err)
	}
	s.Start()
	gap := next(t, ann, client.Gap)
	if now := gap.Cursor(); now.RoomID != was.RoomID || now.Epoch == was.Epoch {
		t.Error(now, was)
	}
	if _, err := ann.Send(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	var refusal *client.Error
	for ev := range strict.Events(ctx) {
		if ev.Stored() {
			t.Error(ev)
		}
	}
	if err := strict.Err(); !errors.As(err, &refusal) || refusal.Code != "wrong-history" {
		t.Error(err)
	}
}
