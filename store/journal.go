package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// journal is the file beside the database that a commit goes to: one write and
// one sync, where a transaction of bbolt costs several writes and two syncs,
// one after the other. It holds the lines that are not in the database yet.
//
// After a head of journalHead bytes (the magic words and the journal's identity)
// come records, one for each commit:
//
//	checksum  4  CRC-32C of the identity and what follows
//	length    4  of the lines
//	number    8  one more than that of the record before
//	lines        each as appendPost writes it
//
// and sixteen zero bytes, which the next record overwrites. When everything is
// in the database the records begin at the head again, with the numbers going
// on: what is left of older ones is told by its number. The file has been
// written to its end before (with zeros), as a sync of bytes in place is twice
// as fast as one that must keep the file's length, too.
//
// Owned by the committer, once Open has read it.
type journal struct {
	path   string
	file   *os.File // nil: there is none yet
	id     [journalID]byte
	number uint64 // of the next record
	at     int64  // where it goes
	size   int64  // of the file
	torn   bool   // there may be something of a record that failed
}

const (
	journalMagic = "roomd journal 1\n"
	journalHead  = 4096
	journalID    = 16
	recordHead   = 16
	recordEnd    = 16
	journalGrow  = 256 << 10
)

const journalSuffix = ".journal"

func journalPath(path string) string { return path + journalSuffix }

// create makes the file. Nothing refers to it yet.
func (j *journal) create() (err error) {
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(j.path))
		}
	}()
	head := make([]byte, journalGrow)
	copy(head, journalMagic)
	copy(head[len(journalMagic):], j.id[:])
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	if err := errors.Join(own(f, strings.TrimSuffix(j.path, journalSuffix)), f.Sync(), syncDir(filepath.Dir(j.path))); err != nil {
		return err
	}
	j.file, j.at, j.size = f, journalHead, int64(len(head))
	return nil
}

// clear makes way for create: a journal that the database does not refer to is
// put aside, if anything is in it.
func (j *journal) clear() error {
	b, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(bytes.Trim(b[min(len(b), journalHead):], "\x00")) == 0 {
		return os.Remove(j.path)
	}
	return os.Rename(j.path, j.path+".orphan")
}

// begin starts a record in buf.
func (j *journal) begin(buf []byte) []byte { return append(buf[:0], make([]byte, recordHead)...) }

// write finishes the record that begin started and brings it to disk. An error
// that is full has left the journal as it was.
func (j *journal) write(record []byte) error {
	end := j.at + int64(len(record)+recordEnd)
	if err := j.grow(end); err != nil {
		return err
	}
	binary.BigEndian.PutUint32(record[4:], uint32(len(record)-recordHead))
	binary.BigEndian.PutUint64(record[8:], j.number)
	binary.BigEndian.PutUint32(record, j.checksum(record))
	j.torn = true
	if _, err := j.file.WriteAt(append(record, make([]byte, recordEnd)...), j.at); err != nil {
		return err
	}
	if err := datasync(j.file); err != nil {
		return fmt.Errorf("%w: %w", errSync, err)
	}
	j.torn = false
	j.number++
	j.at += int64(len(record))
	return nil
}

// errSync is in the error of a sync that failed, whatever the reason.
var errSync = errors.New("sync the journal")

// grow makes the file at least as long as end.
func (j *journal) grow(end int64) error {
	if end <= j.size {
		return nil
	}
	size := (end + journalGrow - 1) / journalGrow * journalGrow
	zeros := make([]byte, journalGrow)
	for at := j.size; at < size; at += int64(len(zeros)) {
		if _, err := j.file.WriteAt(zeros, at); err != nil {
			// Whoever has no space left needs it for something else.
			return errors.Join(err, j.file.Truncate(j.size))
		}
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("%w: %w", errSync, err)
	}
	j.size = size
	return nil
}

func (j *journal) checksum(record []byte) uint32 {
	return crc32.Update(crc32.Checksum(j.id[:], castagnoli), castagnoli, record[4:])
}

// reset lets the next record begin at the head: all lines are in the database.
func (j *journal) reset() { j.at = journalHead }

// remove takes the file away. Nothing refers to it any more.
func (j *journal) remove() error {
	if j.file == nil {
		return nil
	}
	err := errors.Join(j.file.Close(), os.Remove(j.path))
	j.file = nil
	return err
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// open reads the journal with the identity id, whose first record has that
// number if there is any, and calls line for each of its lines, in their order.
// What is damaged is left out; each damage is returned as a sentence. It fails
// with fs.ErrNotExist if there is no such journal.
func (j *journal) open(id []byte, number uint64, line func(room uint64, l Line)) (damage []string, err error) {
	b, err := os.ReadFile(j.path)
	if err != nil {
		return nil, err
	}
	if len(b) < journalHead || string(b[:len(journalMagic)]) != journalMagic || string(b[len(journalMagic):][:journalID]) != string(id) {
		return nil, fmt.Errorf("%s belongs to another database, or is damaged: %w", j.path, fs.ErrNotExist)
	}
	copy(j.id[:], id)
	j.number, j.at, j.size = number, journalHead, int64(len(b))
	for {
		record, number := j.record(b[j.at:])
		if record != nil && number < j.number {
			break // of an earlier round
		}
		if record == nil || number != j.number {
			next := j.later(b)
			if next < 0 {
				end := b[j.at:][:min(recordEnd, len(b)-int(j.at))]
				if len(bytes.Trim(end, "\x00")) > 0 {
					damage = append(damage, fmt.Sprintf("%s: the last commit, at byte %d, is incomplete or damaged; if the power failed while it was written, nobody has seen its lines", j.path, j.at))
				}
				break
			}
			damage = append(damage, fmt.Sprintf("%s: %d bytes at byte %d are damaged; the lines in them are lost", j.path, next-j.at, j.at))
			j.at = next
			record, number = j.record(b[j.at:])
		}
		if !decodePosts(record[recordHead:], line) {
			damage = append(damage, fmt.Sprintf("%s: the record at byte %d does not decode; its lines are lost", j.path, j.at))
		}
		j.at += int64(len(record))
		j.number = number + 1
	}
	j.file, err = os.OpenFile(j.path, os.O_RDWR, 0)
	return damage, err
}

// record returns the record that b begins with, or nil.
func (j *journal) record(b []byte) (record []byte, number uint64) {
	if len(b) < recordHead {
		return nil, 0
	}
	n := int64(binary.BigEndian.Uint32(b[4:])) + recordHead
	if number = binary.BigEndian.Uint64(b[8:]); number == 0 || n > int64(len(b)) || binary.BigEndian.Uint32(b) != j.checksum(b[:n]) {
		return nil, 0
	}
	return b[:n], number
}

// later looks for a record after damaged ones: the commits that it follows were
// on disk. What is left of an earlier round has smaller numbers.
func (j *journal) later(b []byte) int64 {
	for at := j.at + 1; at+recordHead <= int64(len(b)); at++ {
		// Numbers are far below 2^48, and a checksum is dear.
		if number := binary.BigEndian.Uint64(b[at+8:]); number>>48 == 0 && number > j.number {
			if record, _ := j.record(b[at:]); record != nil {
				return at
			}
		}
	}
	return -1
}

// appendPost appends a line to a record.
func appendPost(b []byte, room uint64, l *Line, micros int64) []byte {
	b = binary.AppendUvarint(b, room)
	return appendLine(b, l.Seq, micros, l.Kind, l.From, l.Text)
}

// decodePosts calls line for each line of a record.
func decodePosts(b []byte, line func(room uint64, l Line)) bool {
	whole := string(b)
	for at := 0; at < len(b); {
		room, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return false
		}
		s := scan{buf: b, at: at + n}
		if !s.next() {
			return false
		}
		line(room, s.line(whole))
		at = s.at
	}
	return true
}
