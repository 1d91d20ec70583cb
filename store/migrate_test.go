package store

import (
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// old unpacks a database of an older version, made by the roomd of its day.
func old(t *testing.T, version int) (path string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", fmt.Sprintf("schema%d.db.gz.b64", version)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, f))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	path = dbPath(t)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every version there ever was: a room that retention has been at, one in the
// trash, an empty one, a topic, a ban, an entry of the audit.
func TestOldVersions(t *testing.T) {
	for version := 1; version <= Schema; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			path := old(t, version)
			before := sum(t, path)
			s := open(t, path, Options{Retention: Retention{Trash: 1e6 * time.Hour}})
			if version < Schema && sum(t, fmt.Sprint(path, ".schema", version)) != before {
				t.Error("the old file is not as it was")
			}
			rooms, err := s.Rooms()
			if err != nil || len(rooms) != 2 || rooms[0].Name != "empty" || rooms[1].Name != "lobby" || rooms[1].Port != 9000 || rooms[1].Topic != "be kind" {
				t.Errorf("%+v %v", rooms, err)
			}
			st, err := s.Stat(1)
			if want := (Stat{Last: 301, Lines: 100, Bytes: 4187, Removed: 201}); err != nil || st != want {
				t.Errorf("%+v %v, want %+v", st, err, want)
			}
			lines := s.all(1)
			for i, l := range lines {
				text := fmt.Sprintf("line %d of the lobby", 202+i)
				if l.Seq == 301 {
					text = "the last"
				}
				if l.Seq != uint64(202+i) || l.Kind != Message || l.From != "ann" || l.Text != text || l.Time.Year() < 2026 {
					t.Errorf("%+v", l)
				}
			}
			if len(lines) != 100 {
				t.Errorf("%d lines", len(lines))
			}
			trash, err := s.Trash()
			if err != nil || len(trash) != 1 || trash[0].Name != "old" {
				t.Fatalf("%+v %v", trash, err)
			}
			if _, err := s.Restore(trash[0].ID, 9001, nil); err != nil {
				t.Error(err)
			}
			if lines := s.all(trash[0].ID); len(lines) != 30 || lines[29].Text != "line 30 of an old room" {
				t.Errorf("%+v", lines)
			}
			if p := s.say(1, "next"); p.Err != nil || p.Line.Seq != 302 {
				t.Errorf("%+v", p)
			}
			bans, err := s.Bans(time.Now())
			if err != nil || len(bans) != 1 || bans[0].Nick != "eve" {
				t.Errorf("%+v %v", bans, err)
			}
			audits, _, err := s.Audits(t.Context(), time.Time{}, 10, nil)
			if err != nil || len(audits) != 1 || audits[0].Line != "ban eve" {
				t.Errorf("%+v %v", audits, err)
			}
			if id := s.room("new", 9009); id != 4 {
				t.Errorf("the new room is %d", id)
			}
			s.reopen()
			if left, err := filepath.Glob(path + ".new*"); err != nil || len(left) > 0 {
				t.Errorf("stale files: %v %v", left, err)
			}
		})
	}
}

// A migration that was cut off leaves the old file, and is done again.
func TestMigrateAgain(t *testing.T) {
	path := old(t, 1)
	if err := os.WriteFile(path+".new123", []byte("half a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".schema1", []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, path, fs.ErrExist)
	if err := os.Remove(path + ".schema1"); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, Options{})
	if n := len(s.all(1)); n != 100 {
		t.Errorf("%d lines", n)
	}
}
