package store

import (
	"errors"
	"fmt"

	"roomd/store/boltcheck"
	"roomd/store/wal"
)

// What was refused must not turn up later. After a failed write or sync nobody
// knows what the disk has: so it is told to take back what it may have, at once,
// and if it refuses that too, before the store heals. In between a crash of the
// process finds it taken back all the same, in the kernel's memory; only one of
// the machine may find what was refused, if the disk had kept it after all.

// takeBack does so with what the journal and the database may have of changes
// that were refused.
func (s *Store) takeBack() error {
	var err error
	if s.journal.Torn() && s.opts.Durability == Commit { // relaxed lines are not refused
		err = s.journal.Undo()
	}
	if s.doubtful != 0 {
		e := boltcheck.Revert(s.path, s.db.Info().PageSize, s.doubtful, wal.Datasync)
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
