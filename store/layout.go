package store

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"iter"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Schema is the version of the file's layout that this package writes.
const Schema = 2

var (
	bucketMeta      = []byte("meta")
	bucketRooms     = []byte("rooms")
	bucketHeads     = []byte("heads")
	bucketNames     = []byte("names")
	bucketPorts     = []byte("ports")
	bucketLines     = []byte("lines")
	bucketBans      = []byte("bans")
	bucketAudit     = []byte("audit")
	bucketPositions = []byte("positions")
	bucketIDs       = []byte("ids")

	buckets = [][]byte{bucketMeta, bucketRooms, bucketHeads, bucketNames, bucketPorts, bucketLines, bucketBans, bucketAudit, bucketPositions, bucketIDs}

	keySchema  = []byte("schema")
	keyRelaxed = []byte("relaxed") // exists while a relaxed server runs
	keyWAL     = []byte("journal") // wal.File.Key of the WAL in use
	keyStop    = []byte("stop")    // the plan to stop the server; the plan of a room is in the room's record
	// See Identity.
	keyIdentity = []byte("identity")
	keyEpoch    = []byte("epoch")
)

// schemaOf returns the version of the file's layout.
func schemaOf(tx *bolt.Tx) (uint64, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || len(meta.Get(keySchema)) != 8 {
		return 0, errNotDatabase
	}
	return binary.BigEndian.Uint64(meta.Get(keySchema)), nil
}

// records iterates over the keys and values of a bucket. A bucket that does not
// exist has none: older files lack some buckets.
func records(b *bolt.Bucket) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		if b == nil {
			return
		}
		c := b.Cursor()
		for k, v := c.First(); k != nil && yield(k, v); k, v = c.Next() {
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends a checksum of a record and its key.
func seal(k, v []byte) []byte {
	return binary.BigEndian.AppendUint32(v, crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v))
}

// unseal checks a record that seal has made, and returns it without the checksum.
func unseal(k, v []byte) ([]byte, error) {
	n := len(v) - 4
	if n < 0 || binary.BigEndian.Uint32(v[n:]) != crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v[:n]) {
		return nil, errCorruptRecord
	}
	return v[:n], nil
}

var errCorruptRecord = errors.New("the record is corrupt")

// putJSON writes a sealed record of JSON.
func putJSON(b *bolt.Bucket, k []byte, record any) error {
	v, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return b.Put(k, seal(k, v))
}

// decodeJSON reads a record that putJSON has written.
func decodeJSON(k, v []byte, record any) error {
	v, err := unseal(k, v)
	if err != nil {
		return err
	}
	return json.Unmarshal(v, record)
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// seqOf returns the number in a key, or 0 if the key is not a number.
func seqOf(k []byte) uint64 {
	if len(k) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}

// Identity tells a room's history from all others, for readers that remember a
// sequence number: a number holds only while both fields stay the same.
type Identity struct {
	// Room stays the same for as long as the room exists, whatever its name and
	// port, also after it was in the trash. No other room has it, in this
	// database or another one.
	Room string
	// Epoch changes when the history may have gone back, or may have got lines
	// before its newest one: a backup was put in the place of the database,
	// however that was done, or lines were imported.
	Epoch string
}

// Identity returns the identity of a room's history.
func (s *Store) Identity(r Room) Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := Identity{Room: s.identity + "." + strconv.FormatUint(r.ID, 10), Epoch: s.epoch}
	if r.Imports > 0 {
		id.Epoch += "." + strconv.FormatUint(r.Imports, 10)
	}
	return id
}

// loadIdentity reads the identity and the epoch of the database, and makes those
// that are missing: the file is new, or of an older roomd, or a copy that a backup
// or a restore has made (clearEpoch). It reports whether they have to be written.
func (s *Store) loadIdentity(tx *bolt.Tx) (missing bool) {
	meta := tx.Bucket(bucketMeta)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity, s.epoch = string(meta.Get(keyIdentity)), string(meta.Get(keyEpoch))
	for _, name := range []*string{&s.identity, &s.epoch} {
		if *name == "" {
			*name, missing = randomID(), true
		}
	}
	return missing
}

func putIdentity(meta *bolt.Bucket, identity, epoch string) error {
	return errors.Join(meta.Put(keyIdentity, []byte(identity)), meta.Put(keyEpoch, []byte(epoch)))
}

// clearEpoch makes the history of a copy begin another epoch when the copy is
// opened.
func clearEpoch(meta *bolt.Bucket) error { return meta.Delete(keyEpoch) }

func randomID() string { return strings.ToLower(rand.Text()[:16]) }
