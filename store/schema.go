package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

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
	keyJournal = []byte("journal") // identity and next number of the journal in use
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
		return nil, errRecord
	}
	return v[:n], nil
}

var errRecord = errors.New("the record is damaged")

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// seqOf is the sequence number in a key. A key that is none is 0.
func seqOf(k []byte) uint64 {
	if len(k) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}
