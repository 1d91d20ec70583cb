package store

import (
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// tidyStep bounds the lines that one step of housekeeping removes, so that
// lines which arrive meanwhile wait for a small transaction only.
const tidyStep = 1000

type choreKind int

const (
	choreTrim  choreKind = iota // remove lines beyond Options.Lines
	choreAge                    // remove lines older than Options.Age
	chorePurge                  // remove a deleted room
)

// chore is housekeeping for one room, done in steps by the committer.
type chore struct {
	room   uint64
	kind   choreKind
	before time.Time // choreAge: lines older than this go
}

// overfull leaves a margin, so that a busy room is not trimmed line by line.
func (s *Store) overfull(h *head) bool {
	most := s.mostLines(h)
	return most > 0 && h.Lines > most+most/50+tidyStep/10
}

// mostLines is how many lines of a room are kept; 0: all.
func (s *Store) mostLines(h *head) uint64 {
	if h.own.Lines != nil {
		return *h.own.Lines
	}
	return s.keep().Lines
}

// mostAge is how old the lines of a room may be; 0: any age.
func (s *Store) mostAge(h *head) time.Duration {
	if h.own.Age != nil {
		return *h.own.Age
	}
	return s.keep().Age
}

// retain makes a room keep what its settings say, from now on. It runs on the
// committer's goroutine.
func (s *Store) retain(room uint64, own Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heads[room]
	if h == nil {
		return
	}
	h.own = own
	if most := s.mostLines(h); most > 0 && h.Lines > most {
		s.addChore(chore{room: room, kind: choreTrim})
	}
	s.planAge(room, h, time.Now())
}

// planAge has lines that are too old removed. mu is held.
func (s *Store) planAge(room uint64, h *head, now time.Time) {
	if age := s.mostAge(h); age > 0 {
		s.addChore(chore{room: room, kind: choreAge, before: now.Add(-age)})
	}
}

func (s *Store) addChore(c chore) {
	for _, have := range s.chores {
		if have.room == c.room && have.kind == c.kind {
			return
		}
	}
	s.chores = append(s.chores, c)
}

// chore does one step of what is first and reports whether there is more. A
// step that fails is dropped: the room is looked at again with the next line
// or the next minute.
func (s *Store) chore() bool {
	if len(s.chores) == 0 {
		return false
	}
	more, err := s.tidyRoom(s.chores[0])
	if !more || err != nil {
		s.chores = s.chores[1:]
	}
	return len(s.chores) > 0
}

func (s *Store) tidyRoom(c chore) (more bool, err error) {
	if c.kind == chorePurge {
		return s.purgeStep(c.room)
	}
	if err := s.flushUnwritten(); err != nil {
		return false, err
	}
	s.mu.Lock()
	h := s.heads[c.room]
	if h == nil {
		s.mu.Unlock()
		return false, nil
	}
	trimmed := *h
	s.mu.Unlock()
	err = s.transact(func(tx *bolt.Tx) error {
		cur := tx.Bucket(bucketLines).Bucket(u64(c.room)).Cursor()
		n := 0
		for k, v := cur.First(); k != nil; k, v = cur.First() {
			if most := s.mostLines(&trimmed); c.kind == choreTrim && (most == 0 || trimmed.Lines <= most) {
				break
			}
			if l, err := decodeLine(k, v); c.kind == choreAge && err == nil && !l.Time.Before(c.before) {
				break
			}
			if more = n == tidyStep; more {
				break
			}
			n++
			trimmed.Lines--
			trimmed.Bytes -= uint64(len(k) + len(v))
			trimmed.Trimmed = binary.BigEndian.Uint64(k)
			if err := cur.Delete(); err != nil {
				return err
			}
		}
		if n == 0 {
			return errNothing
		}
		return tx.Bucket(bucketHeads).Put(u64(c.room), trimmed.encode())
	})
	if errors.Is(err, errNothing) {
		return false, nil
	}
	if err == nil {
		s.mu.Lock()
		*h = trimmed
		s.mu.Unlock()
	}
	return more, err
}

// purgeStep removes some of a deleted room's lines, and the room with the last.
func (s *Store) purgeStep(room uint64) (more bool, err error) {
	err = s.transact(func(tx *bolt.Tx) error {
		if _, err := deletedRoom(tx, room); err != nil {
			return errNothing // gone already, or restored meanwhile
		}
		lines, heads := tx.Bucket(bucketLines), tx.Bucket(bucketHeads)
		if b := lines.Bucket(u64(room)); b != nil {
			h, err := decodeHead(heads.Get(u64(room)))
			if err != nil {
				return err
			}
			cur := b.Cursor()
			for n := 0; ; n++ {
				k, v := cur.First()
				if k == nil {
					break
				}
				if more = n == tidyStep; more {
					return heads.Put(u64(room), h.encode())
				}
				h.Lines--
				h.Bytes -= uint64(len(k) + len(v))
				h.Trimmed = binary.BigEndian.Uint64(k)
				if err := cur.Delete(); err != nil {
					return err
				}
			}
			if err := lines.DeleteBucket(u64(room)); err != nil {
				return err
			}
		}
		if err := heads.Delete(u64(room)); err != nil {
			return err
		}
		return tx.Bucket(bucketRooms).Delete(u64(room))
	})
	return more, err
}

// Tidy starts the removal of what is too old at the given time: rooms that
// have been in the trash for too long, lines that are too old or too many. The
// committer calls it by itself once a minute. What it starts is done in small
// steps after Tidy has returned.
func (s *Store) Tidy(now time.Time) error {
	return s.update(func(*bolt.Tx) error { return nil }, func() { s.planTidy(now) })
}

func (s *Store) planTidy(now time.Time) {
	old, err := s.roomsWhere(func(r Room) bool {
		return r.Purged || !r.Deleted.IsZero() && !now.Before(r.Deleted.Add(s.keep().Trash))
	})
	if err != nil {
		return // looked at again in a minute
	}
	for _, r := range old {
		s.addChore(chore{room: r.ID, kind: chorePurge})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, h := range s.heads {
		if s.overfull(h) { // the limit was lowered
			s.addChore(chore{room: id, kind: choreTrim})
		}
		s.planAge(id, h, now)
	}
}
