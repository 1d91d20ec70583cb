package lineid

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

var bucket = []byte("ids")

func openDB(t *testing.T, name string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), name), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(bucket); return err }); err != nil {
		t.Fatal(err)
	}
	return db
}

// An index is a map that forgets old entries: whole generations of them.
func TestModel(t *testing.T) {
	db := openDB(t, "model")
	rapid.Check(t, func(rt *rapid.T) {
		if err := db.Update(func(tx *bolt.Tx) error {
			if err := tx.DeleteBucket(bucket); err != nil {
				return err
			}
			_, err := tx.CreateBucket(bucket)
			return err
		}); err != nil {
			rt.Fatal(err)
		}
		const size = 8
		x := &Index{size: size}
		type entry struct {
			Place
			at time.Time
			n  int // how many were added before
		}
		added, batch := make(map[Key]entry), make(map[Key]entry)
		now, n := time.UnixMicro(1e15), 0
		update := func(fn func(*bolt.Bucket) error) {
			if err := db.Update(func(tx *bolt.Tx) error { return fn(tx.Bucket(bucket)) }); err != nil {
				rt.Fatal(err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				k := KeyOf(rapid.Uint64Range(1, 2).Draw(rt, "room"), rapid.SampledFrom([]string{"", "ann"}).Draw(rt, "by"), fmt.Sprint(n))
				n++
				e := entry{Place{uint64(n), now.UnixMicro()}, now, n}
				x.Add(k, e.Place)
				batch[k] = e
			},
			"commit": func(*rapid.T) {
				x.Commit()
				for k, e := range batch {
					added[k] = e
				}
				clear(batch)
			},
			"abort": func(*rapid.T) { x.Abort(); clear(batch) },
			"write": func(*rapid.T) {
				x.Commit()
				for k, e := range batch {
					added[k] = e
				}
				clear(batch)
				update(func(b *bolt.Bucket) error { return x.Write(b, now) })
				x.Reset()
			},
			"later": func(rt *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(6*time.Hour)).Draw(rt, "by")))
			},
			"back": func(rt *rapid.T) {
				now = now.Add(-time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "by")))
			},
			"remove": func(rt *rapid.T) {
				most := rapid.IntRange(1, 20).Draw(rt, "most")
				update(func(b *bolt.Bucket) error { _, err := Remove(b, now, most); return err })
			},
			"": func(rt *rapid.T) {
				err := db.View(func(tx *bolt.Tx) error {
					b := tx.Bucket(bucket)
					find := x.Find(b)
					for k, e := range added {
						p, ok, err := find(k)
						if err != nil || ok && p != e.Place {
							rt.Fatalf("line %d became %+v, %v", e.Seq, p, err)
						}
						// One generation may have one batch more than its size, so count from the newest.
						if !ok && now.Sub(e.at) < Kept-2*time.Hour && n-e.n < 6*size {
							rt.Fatalf("line %d of %d is forgotten, after %s", e.n, n, now.Sub(e.at))
						}
					}
					for k := range batch {
						if _, ok := x.InBatch(k); !ok {
							rt.Fatal("a line of the batch is not found")
						}
						if _, ok, _ := find(k); ok {
							rt.Fatal("a line that is not committed is found")
						}
					}
					return Check(b)
				})
				if err != nil {
					rt.Fatal(err)
				}
			},
		})
		now = now.Add(1000 * time.Hour)
		more := true
		for more {
			update(func(b *bolt.Bucket) (err error) { more, err = Remove(b, now, 3); return err })
		}
		update(func(b *bolt.Bucket) error {
			if n := b.Stats().KeyN; n > 0 || Expired(b, now) || Any(b) {
				rt.Fatalf("%d records are left", n)
			}
			return nil
		})
	})
}

// A flood of IDs takes a bounded space, wherever the clock is.
func TestFlood(t *testing.T) {
	for _, step := range []time.Duration{0, time.Hour, -5 * time.Hour, 7 * time.Hour} {
		db := openDB(t, fmt.Sprint(step))
		x, now := &Index{size: 100}, time.UnixMicro(1e15)
		for n := range 100 {
			now = now.Add(step)
			for i := range 50 {
				x.Restore(KeyOf(1, "ann", fmt.Sprint(n, i)), Place{uint64(n), 1})
			}
			err := db.Update(func(tx *bolt.Tx) error {
				b := tx.Bucket(bucket)
				err := x.Write(b, now)
				for more := err == nil; more && err == nil; {
					more, err = Remove(b, now, math.MaxInt)
				}
				if n, all := b.Stats().KeyN, len(generations(b)); n > 8*150+maxGenerations || all > maxGenerations {
					t.Errorf("%d records in %d generations", n, all)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			x.Reset()
		}
	}
}

func TestCorrupt(t *testing.T) {
	db := openDB(t, "corrupt")
	x, k := &Index{}, KeyOf(1, "ann", "a")
	x.Restore(k, Place{7, 8})
	err := db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		if err := x.Write(b, time.UnixMicro(1e15)); err != nil {
			return err
		}
		x.Reset()
		if p, ok, err := x.Find(b)(k); p != (Place{7, 8}) || !ok || err != nil {
			t.Errorf("%+v %v %v", p, ok, err)
		}
		key := append(number(1), k[:]...)
		v := append([]byte(nil), b.Get(key)...)
		v[3] ^= 1
		return b.Put(key, v)
	})
	if err != nil {
		t.Fatal(err)
	}
	db.View(func(tx *bolt.Tx) error {
		if _, ok, err := x.Find(tx.Bucket(bucket))(k); ok || err == nil {
			t.Error("the corrupt record is believed")
		}
		if Check(tx.Bucket(bucket)) == nil {
			t.Error("the corrupt record is not reported")
		}
		return nil
	})
}
