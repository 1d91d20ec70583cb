package wal

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"roomd/store/block"
	"roomd/store/disk"
)

// File is the write-ahead log: the file beside the database to which a commit goes in
// one write and one sync, where a transaction of bbolt costs several writes and two
// syncs, one after the other. It contains the lines that are not in the database yet.
//
// After a header of headBytes bytes (the magic words and the identity of the file) come
// records, one for each commit:
//
//	checksum  4  CRC-32C of the identity and the rest of the record
//	length    4  of the lines
//	number    8  one more than that of the record before
//	lines        each as AppendLine writes it
//
// and sixteen zero bytes, which the next record overwrites. After a checkpoint the
// records begin at the header again, with the numbers going on: older records that are
// still in the file are recognized by their numbers. The file is filled with zeros
// before records are written, as a sync of bytes in place is twice as fast as one that
// must write the file's length, too.
//
// It belongs to one goroutine at a time.
type File struct {
	path   string
	file   *os.File // nil: there is none yet
	id     [idBytes]byte
	number uint64 // of the next record
	offset int64  // of the next record
	size   int64  // of the file
	torn   bool   // the file may contain a part of a record that failed
}

const (
	magic      = "roomd journal 1\n"
	headBytes  = 4096
	idBytes    = 16
	recordHead = 16
	recordEnd  = 16

	// GrowBytes is the step in which the file grows.
	GrowBytes = 256 << 10
	// KeyBytes is the length of a Key.
	KeyBytes = idBytes + 8
)

// Path returns the path of the WAL of a database.
func Path(database string) string { return database + ".journal" }

// New returns the WAL of the database at a path. Create or Open must follow.
func New(database string) *File { return &File{path: Path(database)} }

// Exists reports whether there is a file to write to: Create or Open has succeeded.
func (j *File) Exists() bool { return j.file != nil }

// Create creates the file, with a new identity. own sets its owner and its mode. A file
// at its path does not belong to the database: it is renamed if it contains records, or
// else removed. An error leaves no file.
func (j *File) Create(own func(*os.File) error) error {
	j.number = 1
	if _, err := rand.Read(j.id[:]); err != nil {
		return err
	}
	if err := j.moveAside(); err != nil {
		return err
	}
	return j.create(own)
}

func (j *File) create(own func(*os.File) error) (err error) {
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(j.path))
		}
	}()
	head := make([]byte, GrowBytes)
	copy(head, magic)
	copy(head[len(magic):], j.id[:])
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	if err := errors.Join(own(f), f.Sync(), disk.SyncDir(filepath.Dir(j.path))); err != nil {
		return err
	}
	j.file, j.offset, j.size = f, headBytes, int64(len(head))
	return nil
}

// moveAside makes way for create.
func (j *File) moveAside() error {
	b, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(bytes.Trim(b[min(len(b), headBytes):], "\x00")) == 0 {
		return os.Remove(j.path)
	}
	return os.Rename(j.path, j.path+".orphan")
}

// Begin starts a record in the memory of buf. AppendLine follows, and then Write.
func Begin(buf []byte) []byte { return append(buf[:0], make([]byte, recordHead)...) }

// Write finishes the record that Begin started and brings it to disk. After an error
// the file may contain a part of it; see Torn. ErrSync is in the error if the disk has
// refused to sync.
func (j *File) Write(record []byte) error {
	end := j.offset + int64(len(record)+recordEnd)
	if err := j.grow(end); err != nil {
		return err
	}
	binary.BigEndian.PutUint32(record[4:], uint32(len(record)-recordHead))
	binary.BigEndian.PutUint64(record[8:], j.number)
	binary.BigEndian.PutUint32(record, j.checksum(record))
	j.torn = true
	if _, err := j.file.WriteAt(append(record, make([]byte, recordEnd)...), j.offset); err != nil {
		return err
	}
	if err := disk.Datasync(j.file); err != nil {
		return fmt.Errorf("%w: %w", ErrSync, err)
	}
	j.torn = false
	j.number++
	j.offset += int64(len(record))
	return nil
}

// ErrSync is in the error of a sync that failed, whatever the reason: nobody knows
// which bytes are on the disk.
var ErrSync = errors.New("sync the WAL")

// grow makes the file at least as long as end.
func (j *File) grow(end int64) error {
	if end <= j.size {
		return nil
	}
	size := (end + GrowBytes - 1) / GrowBytes * GrowBytes
	zeros := make([]byte, GrowBytes)
	for at := j.size; at < size; at += int64(len(zeros)) {
		if _, err := j.file.WriteAt(zeros, at); err != nil {
			// On a full disk the database needs the space.
			return errors.Join(err, j.file.Truncate(j.size))
		}
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrSync, err)
	}
	j.size = size
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (j *File) checksum(record []byte) uint32 {
	return crc32.Update(crc32.Checksum(j.id[:], castagnoli), castagnoli, record[4:])
}

// RollBack overwrites the record that Write has begun.
func (j *File) RollBack() error {
	_, err := j.file.WriteAt(make([]byte, recordHead+recordEnd), j.offset)
	if err == nil {
		err = disk.Datasync(j.file)
	}
	j.torn = err != nil
	return err
}

// Torn reports whether the file may contain a part of a record that failed, which
// RollBack has not overwritten.
func (j *File) Torn() bool { return j.torn && j.file != nil }

// RecordBytes returns how many bytes the records in the file take.
func (j *File) RecordBytes() int { return int(j.offset - headBytes) }

// Key returns what the database stores of its WAL for Open: the identity, and the number
// of the next record. Earlier records are in the database.
func (j *File) Key() []byte { return binary.BigEndian.AppendUint64(j.id[:], j.number) }

// Reset makes the next record begin at the header: all lines are in the database.
func (j *File) Reset() { j.offset = headBytes }

// Remove closes the file and removes it, if there is one.
func (j *File) Remove() error {
	if j.file == nil {
		return nil
	}
	return errors.Join(j.Close(), os.Remove(j.path))
}

// Close closes the file, if there is one. Its records stay for Open.
func (j *File) Close() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// Open reads the WAL whose key the database has stored, KeyBytes of them, and calls line
// for each of its lines, in their order. Corrupt records are skipped; corrupt has a
// sentence for each gap. Open fails with fs.ErrNotExist if there is no such WAL.
func (j *File) Open(key []byte, line func(room uint64, l block.Line)) (corrupt []string, err error) {
	id, number := key[:idBytes], binary.BigEndian.Uint64(key[idBytes:])
	b, err := os.ReadFile(j.path)
	if err != nil {
		return nil, err
	}
	if len(b) < headBytes || string(b[:len(magic)]) != magic || string(b[len(magic):][:idBytes]) != string(id) {
		return nil, fmt.Errorf("%s belongs to another database, or is corrupt: %w", j.path, fs.ErrNotExist)
	}
	copy(j.id[:], id)
	j.number, j.offset, j.size = number, headBytes, int64(len(b))
	for {
		record, number := j.record(b[j.offset:])
		if record != nil && number < j.number {
			break // it was written before the last Reset
		}
		if record == nil || number != j.number {
			next := j.findNext(b)
			if next < 0 {
				end := b[j.offset:][:min(recordEnd, len(b)-int(j.offset))]
				if len(bytes.Trim(end, "\x00")) > 0 {
					corrupt = append(corrupt, fmt.Sprintf("%s: the last commit, at byte %d, is incomplete or corrupt; if the power failed while it was written, nobody has seen its lines", j.path, j.offset))
				}
				break
			}
			corrupt = append(corrupt, fmt.Sprintf("%s: %d bytes at byte %d are corrupt; the lines in them are lost", j.path, next-j.offset, j.offset))
			j.offset = next
			record, number = j.record(b[j.offset:])
		}
		if !decodeLines(record[recordHead:], line) {
			corrupt = append(corrupt, fmt.Sprintf("%s: the record at byte %d does not decode; its lines are lost", j.path, j.offset))
		}
		j.offset += int64(len(record))
		j.number = number + 1
	}
	j.file, err = os.OpenFile(j.path, os.O_RDWR, 0)
	return corrupt, err
}

// record returns the record that b begins with, or nil.
func (j *File) record(b []byte) (record []byte, number uint64) {
	if len(b) < recordHead {
		return nil, 0
	}
	n := int64(binary.BigEndian.Uint32(b[4:])) + recordHead
	if number = binary.BigEndian.Uint64(b[8:]); number == 0 || n > int64(len(b)) || binary.BigEndian.Uint32(b) != j.checksum(b[:n]) {
		return nil, 0
	}
	return b[:n], number
}

// findNext returns the offset of the first valid record after a corrupt one, or -1. The
// commits before it were on disk. Records from before the last Reset have smaller
// numbers.
func (j *File) findNext(b []byte) int64 {
	for at := j.offset + 1; at+recordHead <= int64(len(b)); at++ {
		// Numbers are far below 2^48, and are compared faster than a checksum.
		if number := binary.BigEndian.Uint64(b[at+8:]); number>>48 == 0 && number > j.number {
			if record, _ := j.record(b[at:]); record != nil {
				return at
			}
		}
	}
	return -1
}
