package lineid

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// Kept is how long a place is kept at least, unless there are too many.
	Kept = 24 * time.Hour
	// Max bounds the places in the database. Beyond it the oldest generation is removed,
	// which has an eighth of them.
	Max = 1 << 20
	// MaxFresh bounds the places in memory: beyond it Write must follow soon.
	MaxFresh = 1 << 15

	// span is how long a generation takes new places: some are kept longer by it.
	span = 4 * time.Hour
	// maxGenerations bounds them where the clock jumps to and fro.
	maxGenerations = 32
)

// Key is the hash of an ID, see KeyOf.
type Key [16]byte

// KeyOf returns the key of an ID in a room. by is the sender, if the ID is one among those
// of its sender; two different triples have the same key only by design of an attacker
// with 2^64 tries.
func KeyOf(room uint64, by, id string) Key {
	b := make([]byte, 0, 128)
	b = binary.BigEndian.AppendUint64(b, room)
	b = binary.AppendUvarint(b, uint64(len(by)))
	b = append(append(b, by...), id...)
	sum := sha256.Sum256(b)
	return Key(sum[:])
}

// Place is the line of an ID: its number, and its time in microseconds since 1970.
type Place struct {
	Seq    uint64
	Micros int64
}

// Index finds the places of keys. The zero value has none in memory.
type Index struct {
	batch map[Key]Place // of lines that are not committed yet
	fresh map[Key]Place // of committed ones, not in the database
	size  int           // of a generation; 0: an eighth of Max
}

// Add adds the place of a line that is about to be committed.
func (x *Index) Add(k Key, p Place) {
	if x.batch == nil {
		x.batch = make(map[Key]Place)
	}
	x.batch[k] = p
}

// InBatch finds what Add has added since Commit or Abort.
func (x *Index) InBatch(k Key) (Place, bool) {
	p, ok := x.batch[k]
	return p, ok
}

// Commit follows the commit of the lines that were added.
func (x *Index) Commit() {
	for k, p := range x.batch {
		x.Restore(k, p)
	}
	x.Abort()
}

// Abort forgets the lines that were added since Commit: they were refused.
func (x *Index) Abort() { clear(x.batch) }

// Restore adds the place of a committed line.
func (x *Index) Restore(k Key, p Place) {
	if x.fresh == nil {
		x.fresh = make(map[Key]Place)
	}
	x.fresh[k] = p
}

// Fresh returns the number of committed places that are in memory only.
func (x *Index) Fresh() int { return len(x.fresh) }

// Reset forgets all places in memory: Write's transaction is committed, or the file is
// another one.
func (x *Index) Reset() { x.batch, x.fresh = nil, nil }

// Find returns a function that finds the places of committed lines, in memory or in b,
// while b's transaction lasts. b may be nil. A record that is corrupt is none, with an error.
func (x *Index) Find(b *bolt.Bucket) func(Key) (Place, bool, error) {
	all := generations(b)
	key := make([]byte, 8+len(Key{}))
	return func(k Key) (Place, bool, error) {
		if p, ok := x.fresh[k]; ok {
			return p, true, nil
		}
		copy(key[8:], k[:])
		for _, g := range all {
			binary.BigEndian.PutUint64(key, g.number)
			if v := b.Get(key); v != nil {
				a, c, err := decode(key, v)
				return Place{a, int64(c)}, err == nil, err
			}
		}
		return Place{}, false, nil
	}
}

// Write writes the places that are in memory, at a time. Reset must follow the commit.
func (x *Index) Write(b *bolt.Bucket, now time.Time) error {
	if len(x.fresh) == 0 {
		return nil
	}
	size := x.size
	if size == 0 {
		size = Max / 8
	}
	all := generations(b)
	if len(all) == 0 || all[0].count >= uint64(size) || now.Sub(all[0].since).Abs() >= span {
		next := generation{number: lastNumber(b) + 1, since: now}
		total := uint64(0)
		for i, g := range all {
			if total += g.count; total <= 7*uint64(size) && i+1 < maxGenerations {
				continue
			}
			if err := b.Delete(number(g.number)); err != nil {
				return err
			}
		}
		all = []generation{next}
	}
	g := all[0]
	b.FillPercent = bolt.DefaultFillPercent
	key := number(g.number)
	for _, k := range slices.SortedFunc(maps.Keys(x.fresh), func(a, b Key) int { return bytes.Compare(a[:], b[:]) }) {
		key := append(key[:8:8], k[:]...)
		p := x.fresh[k]
		if err := b.Put(key, encode(key, p.Seq, uint64(p.Micros))); err != nil {
			return err
		}
	}
	g.count += uint64(len(x.fresh))
	return b.Put(key, encode(key, uint64(g.since.UnixMicro()), g.count))
}

// Any reports whether a bucket has places, dead ones among them.
func Any(b *bolt.Bucket) bool { return lastNumber(b) > 0 }

// Count returns about how many places a bucket has.
func Count(b *bolt.Bucket) (n uint64) {
	for _, g := range generations(b) {
		n += g.count
	}
	return n
}

// Expired reports whether Remove has something to do at a time.
func Expired(b *bolt.Bucket, now time.Time) bool {
	all := generations(b)
	if len(all) == 0 {
		return Any(b)
	}
	oldest := all[len(all)-1]
	k, _ := b.Cursor().First()
	return oldest.expired(now) || len(k) < 8 || binary.BigEndian.Uint64(k) < oldest.number
}

// Remove removes places that are too old at a time, and dead ones, at most so many. more
// is true if there are more.
func Remove(b *bolt.Bucket, now time.Time, most int) (more bool, err error) {
	all := generations(b)
	for len(all) > 0 && all[len(all)-1].expired(now) {
		if err := b.Delete(number(all[len(all)-1].number)); err != nil {
			return false, err
		}
		all = all[:len(all)-1]
	}
	first := uint64(math.MaxUint64)
	if len(all) > 0 {
		first = all[len(all)-1].number
	}
	c := b.Cursor()
	for ; most > 0; most-- {
		k, _ := c.First()
		if k == nil || len(k) >= 8 && binary.BigEndian.Uint64(k) >= first {
			return false, nil
		}
		if err := c.Delete(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Check returns an error for each corrupt record.
func Check(b *bolt.Bucket) error {
	if b == nil {
		return nil
	}
	var errs []error
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		_, _, err := decode(k, v)
		if len(k) != 8 && len(k) != 8+len(Key{}) {
			err = errCorrupt
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("the ID of a line, %x: %w", k, err))
		}
	}
	return errors.Join(errs...)
}

// generation is the record of a generation.
type generation struct {
	number uint64
	since  time.Time
	count  uint64
}

// expired reports whether all places of a generation are too old.
func (g *generation) expired(now time.Time) bool { return now.Sub(g.since) >= Kept+span }

// generations returns the generations of a bucket, the newest first.
func generations(b *bolt.Bucket) (all []generation) {
	for n := lastNumber(b); n > 0; n-- {
		k := number(n)
		since, count, err := decode(k, b.Get(k))
		if err != nil {
			return all // it was removed, or is corrupt, and the older ones with it
		}
		all = append(all, generation{n, time.UnixMicro(int64(since)), count})
	}
	return all
}

// lastNumber returns the number of the newest generation; 0: there is none.
func lastNumber(b *bolt.Bucket) uint64 {
	if b == nil {
		return 0
	}
	k, _ := b.Cursor().Last()
	if len(k) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errCorrupt = errors.New("the record is corrupt")

// encode encodes two numbers, and a checksum that covers the key, too.
func encode(k []byte, a, c uint64) []byte {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 20), a)
	v = binary.BigEndian.AppendUint64(v, c)
	return binary.BigEndian.AppendUint32(v, crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v))
}

func decode(k, v []byte) (a, c uint64, err error) {
	if len(v) != 20 || binary.BigEndian.Uint32(v[16:]) != crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v[:16]) {
		return 0, 0, errCorrupt
	}
	return binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), nil
}
