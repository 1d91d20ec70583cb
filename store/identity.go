package store

import (
	"crypto/rand"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

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

// identify reads what the database is called, or gives it a name: it is new, of
// an older roomd, or the copy that a backup or a restore has made (unnamed). It
// reports whether that is to be put down.
func (s *Store) identify(tx *bolt.Tx) (lacking bool) {
	meta := tx.Bucket(bucketMeta)
	identity, epoch := string(meta.Get(keyIdentity)), string(meta.Get(keyEpoch))
	if lacking = identity == "" || epoch == ""; lacking {
		if identity == "" {
			identity = unique()
		}
		if epoch == "" {
			epoch = unique()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity, s.epoch = identity, epoch
	return lacking
}

// putNames puts down what a database is called.
func putNames(meta *bolt.Bucket, identity, epoch string) error {
	if err := meta.Put(keyIdentity, []byte(identity)); err != nil {
		return err
	}
	return meta.Put(keyEpoch, []byte(epoch))
}

// unname makes a copy of a database one whose history begins another epoch when
// it is opened.
func unname(meta *bolt.Bucket) error { return meta.Delete(keyEpoch) }

// unique is a word that nobody else makes.
func unique() string { return strings.ToLower(rand.Text()[:16]) }
