package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// What was refused must not turn up later. After a failed write or sync nobody
// knows what the disk has: so it is told to take back what it may have, at once,
// and if it refuses that too, before the store heals. In between a crash of the
// process finds it taken back all the same, in the kernel's memory; only one of
// the machine may find what was refused, if the disk had kept it after all.

// undo takes back the record that write has begun.
func (j *journal) undo() error {
	_, err := j.file.WriteAt(make([]byte, recordHead+recordEnd), j.at)
	if err == nil {
		err = datasync(j.file)
	}
	j.torn = err != nil
	return err
}

// takeBack does so with what the journal and the database may have of changes
// that were refused.
func (s *Store) takeBack() error {
	var err error
	if s.journal.torn && s.journal.file != nil && s.opts.Durability == Commit { // relaxed lines are not refused
		err = s.journal.undo()
	}
	if s.doubtful != 0 {
		e := revert(s.path, int64(s.db.Info().PageSize), s.doubtful)
		if e == nil {
			s.doubtful = 0
		}
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("what was refused could not be taken back: %w", err)
	}
	return nil
}

// revert takes back the transaction id, the newest of a database: bbolt keeps the
// one before until the next, and the two take turns in the first two pages.
func revert(path string, size int64, id int) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // after a sync it has nothing to say
	before, page := int64(id+1)%2, make([]byte, size)
	if _, err := f.ReadAt(page, before*size); err != nil {
		return err
	}
	if _, at := metaOf(page); at != uint64(id-1) {
		return fmt.Errorf("the transaction before %d is not there any more", id)
	}
	binary.NativeEndian.PutUint64(page, uint64(1-before)) // its own number
	if _, err := f.WriteAt(page, (1-before)*size); err != nil {
		return err
	}
	return datasync(f)
}
