package boltcheck

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// written is a database with pages of every kind, as the bbolt of go.mod writes
// them: branches, leaves, pages with more pages behind them, a bucket within a
// page, free pages.
func written(t *testing.T) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for round := range 3 {
		if err := db.Update(func(tx *bolt.Tx) error {
			many, err := tx.CreateBucketIfNotExists([]byte("many"))
			if err != nil {
				return err
			}
			for i := range 3000 {
				if err := many.Put(binary.BigEndian.AppendUint32(nil, uint32(i)), fmt.Append(nil, "a value of round ", round)); err != nil {
					return err
				}
			}
			if err := many.Put([]byte("large"), make([]byte, 100_000)); err != nil {
				return err
			}
			for i := range 3 {
				b, err := many.CreateBucketIfNotExists(fmt.Append(nil, "small ", i))
				if err != nil {
					return err
				}
				if err := b.Put([]byte("key"), []byte("value")); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// If this test fails with a new version of bbolt its format has moved: read
// internal/common of that version, and change format.go before you use it. What
// Pages and Revert do to a file of another format must not be found out later.
func TestFormat(t *testing.T) {
	db := written(t)
	file, err := os.ReadFile(db.Path())
	if err != nil {
		t.Fatal(err)
	}
	size := db.Info().PageSize
	page := func(id int) []byte { return file[id*size : (id+1)*size] }

	tx, err := db.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	newest := meta{}
	for id := range 2 {
		b := page(id)
		m, ok := parseMeta(b)
		if h := parsePageHeader(b); !ok || h.flags != metaPage || h.id != uint64(id) {
			t.Errorf("meta page %d: %+v, checksum %v", id, h, ok)
		}
		n := binary.NativeEndian
		if got := [4]uint32{n.Uint32(b[16:]), n.Uint32(b[20:]), n.Uint32(b[24:]), n.Uint32(b[28:])}; got != [4]uint32{magic, version, uint32(size), 0} {
			t.Errorf("meta page %d: magic, version, page size and flags are %#x", id, got)
		}
		if m.tx > newest.tx {
			newest = m
		}
	}
	if newest.tx != uint64(tx.ID()) || int64(newest.high)*int64(size) != tx.Size() {
		t.Errorf("the newer meta page says %+v; bbolt: transaction %d, %d bytes", newest, tx.ID(), tx.Size())
	}

	p := &pages{ctx: t.Context(), size: int64(size), seen: make(map[uint64]bool)}
	if p.file, err = os.Open(db.Path()); err != nil {
		t.Fatal(err)
	}
	defer p.file.Close()
	root, err := p.meta()
	if p.page(root); err != nil || len(p.errs) > 0 {
		t.Fatalf("%v, %v", err, p.errs)
	}
	types := map[string]uint16{"branch": branchPage, "leaf": leafPage}
	found := make(map[string]int)
	for id := 2; id < int(newest.high); id++ {
		is, err := tx.Page(id)
		if err != nil {
			t.Fatal(err)
		}
		found[is.Type]++
		if want := types[is.Type]; (want != 0) != p.seen[uint64(id)] {
			t.Errorf("page %d, of the type %s: followed is %v", id, is.Type, p.seen[uint64(id)])
		} else if want == 0 {
			if is.Type == "freelist" {
				id += is.OverflowCount
			}
			continue
		} else if h := parsePageHeader(page(id)); h != (pageHeader{uint64(id), want, is.Count, uint32(is.OverflowCount)}) {
			t.Errorf("page %d: %+v, and bbolt says %+v", id, h, *is)
		}
		id += is.OverflowCount
	}
	for _, kind := range []string{"branch", "leaf", "free"} {
		if found[kind] == 0 {
			t.Errorf("there is no page of this type: %s; %v", kind, found)
		}
	}
	if !HasMagic(file) || HasMagic(file[1:]) || HasMagic(file[:pageHeaderBytes+3]) {
		t.Error("Begins does not know the beginning of a database")
	}
	if int64(len(file)) < MinFileSize() {
		t.Errorf("a database has %d bytes, and %d at least", len(file), MinFileSize())
	}
}

// A bit that is changed in what a page says of itself or of others is found.
func TestCorruptPages(t *testing.T) {
	db := written(t)
	path, size := db.Path(), db.Info().PageSize
	if err := CheckPages(t.Context(), path, size); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	root := uint64(0)
	for id, newest := 0, uint64(0); id < 2; id++ {
		if m, ok := parseMeta(whole[id*size:]); ok && m.tx >= newest {
			root, newest = m.root, m.tx
		}
	}
	for at := range 12 { // what comes after is how many pages belong to it, which may be too many
		b := bytes.Clone(whole)
		b[int(root)*size+at] ^= 0x10
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if CheckPages(t.Context(), path, size) == nil {
			t.Errorf("byte %d of the head of page %d is not missed", at, root)
		}
	}
}

func TestRevert(t *testing.T) {
	db := written(t)
	size, last := db.Info().PageSize, 0
	for _, text := range []string{"before", "newest"} {
		if err := db.Update(func(tx *bolt.Tx) error {
			last = tx.ID()
			return tx.Bucket([]byte("many")).Put([]byte("text"), []byte(text))
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Revert(db.Path(), size, last-1, (*os.File).Sync); err == nil {
		t.Error("a transaction that is not the newest is reverted")
	}
	is := func(want string) {
		t.Helper()
		if err := db.View(func(tx *bolt.Tx) error {
			if got := tx.Bucket([]byte("many")).Get([]byte("text")); string(got) != want {
				t.Errorf("it is %q instead of %q", got, want)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	is("newest")
	if err := Revert(db.Path(), size, last, (*os.File).Sync); err != nil {
		t.Fatal(err)
	}
	if err := CheckPages(t.Context(), db.Path(), size); err != nil {
		t.Error(err)
	}
	path := db.Path()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if db, err = bolt.Open(path, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	is("before")
}
