package store

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func postsOf(b []byte) (rooms []uint64, lines []Line, whole bool) {
	whole = decodePosts(b, func(room uint64, l Line) {
		rooms, lines = append(rooms, room), append(lines, l)
	})
	return rooms, lines, whole
}

// A journal holds anything: opening it does no harm, and what was written whole
// before the damage is there.
func FuzzJournal(f *testing.F) {
	l := Line{Seq: 3, Time: time.UnixMicro(1e15).UTC(), Kind: Message, From: "ann", Text: "hello"}
	record := appendPost(nil, 7, &l, l.Time.UnixMicro())
	f.Add(record, 0)
	f.Add(append(slices.Clone(record), record...), 1)
	f.Add(bytes.Repeat([]byte{0xff}, 40), 8*recordHead)
	f.Add([]byte{}, -1)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, posts []byte, flip int) {
		path := filepath.Join(dir, "journal")
		defer os.Remove(path)
		j := journal{path: path, number: 1}
		if err := j.create(); err != nil {
			t.Fatal(err)
		}
		defer j.close()
		at := int64(0)
		for _, b := range [][]byte{record, posts, record} {
			if at == 0 {
				at = j.at + int64(recordHead+len(b)) // where the second one begins
			}
			if err := j.write(append(j.begin(nil), b...)); err != nil {
				t.Fatal(err)
			}
		}
		if flip >= 0 && flip < 8*(recordHead+len(posts)) {
			b := make([]byte, 1)
			if _, err := j.file.ReadAt(b, at+int64(flip/8)); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 1 << (flip % 8)
			if _, err := j.file.WriteAt(b, at+int64(flip/8)); err != nil {
				t.Fatal(err)
			}
		}
		again := journal{path: path}
		var got []Line
		damage, err := again.open(j.id[:], 1, func(_ uint64, l Line) { got = append(got, l) })
		if err != nil {
			t.Fatal(err)
		}
		defer again.close()
		if len(got) < 2 || got[0] != l || got[len(got)-1] != l {
			t.Errorf("%x, bit %d: the lines around it are %+v; %q", posts, flip, got, damage)
		}
		if _, lines, whole := postsOf(posts); flip < 0 && whole && len(got) != len(lines)+2 {
			t.Errorf("%x: %d lines of %d; %q", posts, len(got)-2, len(lines), damage)
		}
		if _, _, whole := postsOf(posts); (flip >= 0 && flip < 8*(recordHead+len(posts)) || !whole) && len(damage) == 0 {
			t.Errorf("%x, bit %d: no word of it", posts, flip)
		}
	})
}

// Records of rooms, of the audit, of ports: whatever is in them, whole by their
// checksum or not, they decode or say why not, and what decodes is kept.
func FuzzRecord(f *testing.F) {
	for _, v := range []string{
		`{"Name":"lobby","Key":"lobby","Port":9000}`, `{"Own":{"Quiet":5}}`, `{"Port":-1e9}`, `null`, `[]`, `{"Created":"x"}`, "", "0123456789abcdef",
	} {
		f.Add(uint64(7), []byte(v), true)
		f.Add(uint64(7), []byte(v), false)
	}
	f.Fuzz(func(t *testing.T, id uint64, v []byte, whole bool) {
		k := u64(id)
		if whole {
			v = seal(k, bytes.Clone(v))
		}
		if r, err := decodeRoom(k, v); err == nil && r.ID != id {
			t.Errorf("room %d is %+v", id, r)
		}
		if _, err := decodeAudit(k, v); err == nil && !whole {
			if p, err := unseal(k, v); err != nil {
				t.Errorf("%q decodes to %q without its checksum", v, p)
			}
		}
		if u, ok := decodePort(v); ok && !bytes.Equal(u.encode(), v) {
			t.Errorf("%x is %+v", v, u)
		}
		if _, err := unseal(u64(id+1), v); err == nil && whole {
			t.Errorf("a record of another key is taken: %x", v)
		}
	})
}
