package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Schema is the version of the file's layout that this package writes.
const Schema = 2

var (
	bucketMeta  = []byte("meta")
	bucketRooms = []byte("rooms")
	bucketHeads = []byte("heads")
	bucketNames = []byte("names")
	bucketPorts = []byte("ports")
	bucketLines = []byte("lines")
	bucketBans  = []byte("bans")
	bucketAudit = []byte("audit")

	buckets = [][]byte{bucketMeta, bucketRooms, bucketHeads, bucketNames, bucketPorts, bucketLines, bucketBans, bucketAudit}

	keySchema  = []byte("schema")
	keyRelaxed = []byte("relaxed") // there while a relaxed server runs
	keyWAL     = []byte("journal") // identity and next number of the journal in use
	// See Identity.
	keyIdentity = []byte("identity")
	keyEpoch    = []byte("epoch")
)

// schemaOf returns the version of the file's layout.
func schemaOf(tx *bolt.Tx) (uint64, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || len(meta.Get(keySchema)) != 8 {
		return 0, errors.New("this is not a roomd database")
	}
	return binary.BigEndian.Uint64(meta.Get(keySchema)), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends a checksum of a record and its key.
func seal(k, v []byte) []byte {
	return binary.BigEndian.AppendUint32(v, crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v))
}

// unseal returns what seal was given.
func unseal(k, v []byte) ([]byte, error) {
	n := len(v) - 4
	if n < 0 || binary.BigEndian.Uint32(v[n:]) != crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v[:n]) {
		return nil, errCorruptRecord
	}
	return v[:n], nil
}

var errCorruptRecord = errors.New("the record is damaged")

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// seqOf is the sequence number in a key. A key that is none is 0.
func seqOf(k []byte) uint64 {
	if len(k) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}

// Identity tells a room's history from all others, for readers that remember
// where they were: two that differ in anything must not go by each other's
// numbers.
type Identity struct {
	// Room is the same for as long as the room is there, whatever its name and
	// port, also after it was in the trash. No other room has it, in this
	// database or another one.
	Room string
	// Epoch is another one since the history may have gone back, or have got
	// lines before its newest: a backup was put in the place of the database,
	// however that was done, or lines were imported.
	Epoch string
}

// Identity is that of a room.
func (s *Store) Identity(r Room) Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := Identity{Room: s.identity + "." + strconv.FormatUint(r.ID, 10), Epoch: s.epoch}
	if r.Imports > 0 {
		id.Epoch += "." + strconv.FormatUint(r.Imports, 10)
	}
	return id
}

// loadIdentity reads what the database is called, or gives it a name: it is new, of
// an older roomd, or the copy that a backup or a restore has made (unnamed). It
// reports whether that is to be put down.
func (s *Store) loadIdentity(tx *bolt.Tx) (lacking bool) {
	meta := tx.Bucket(bucketMeta)
	identity, epoch := string(meta.Get(keyIdentity)), string(meta.Get(keyEpoch))
	if lacking = identity == "" || epoch == ""; lacking {
		if identity == "" {
			identity = randomID()
		}
		if epoch == "" {
			epoch = randomID()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity, s.epoch = identity, epoch
	return lacking
}

// putIdentity puts down what a database is called.
func putIdentity(meta *bolt.Bucket, identity, epoch string) error {
	if err := meta.Put(keyIdentity, []byte(identity)); err != nil {
		return err
	}
	return meta.Put(keyEpoch, []byte(epoch))
}

// clearEpoch makes a copy of a database one whose history begins another epoch when
// it is opened.
func clearEpoch(meta *bolt.Bucket) error { return meta.Delete(keyEpoch) }

// randomID is a word that nobody else makes.
func randomID() string { return strings.ToLower(rand.Text()[:16]) }
