package store

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ErrNoBan is returned for a ban that does not exist.
var ErrNoBan = errors.New("no such ban")

// Ban keeps somebody out, or silent. It applies to connections from its address
// and to members with its nick, as far as they are given, until it expires.
type Ban struct {
	ID      uint64    `json:"-"`
	Mute    bool      `json:"mute,omitempty"`   // the member may join and not speak
	Addr    string    `json:"addr,omitempty"`   // an IPv4 address or a prefix
	Nick    string    `json:"nick,omitempty"`   // folded
	Member  uint64    `json:"member,omitempty"` // ID of the member that was banned; IDs begin again with each start of the server
	Room    uint64    `json:"room,omitempty"`   // 0: every room
	Created time.Time `json:"created"`
	Until   time.Time `json:"until,omitzero"` // zero: until it is removed
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"why,omitempty"`
}

func (b *Ban) expired(now time.Time) bool { return !b.Until.IsZero() && !now.Before(b.Until) }

// addBans adds bans, and removes those that have expired at Now.
type addBans struct {
	Bans []Ban
	Now  time.Time

	owner any
}

// AddBans adds bans, all of them or none, and gives each an ID. Expired bans are
// removed in the same transaction. The follower gets owner.
func (s *Store) AddBans(owner any, bans ...Ban) ([]Ban, error) {
	o, err := s.change(addBans{bans, time.Now(), owner})
	return o.bans, err
}

func (addBans) room() uint64 { return 0 }

func (c addBans) apply(st state) (o outcome, err error) {
	bucket := st.tx.Bucket(bucketBans)
	var expired []uint64
	for b, err := range allBans(st.tx) {
		if err == nil && b.expired(c.Now) {
			expired = append(expired, b.ID)
		}
	}
	for _, id := range expired {
		if err := bucket.Delete(u64(id)); err != nil {
			return o, err
		}
	}
	o.bans = slices.Clone(c.Bans)
	for i := range o.bans {
		b := &o.bans[i]
		if b.ID, err = bucket.NextSequence(); err != nil {
			return o, err
		}
		if err := putJSON(bucket, u64(b.ID), b); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (addBans) updateMemory(*Store, outcome) {}

func (c addBans) notify(f *Changes, o outcome) { f.Banned(o.bans, c.owner) }

// removeBans removes bans.
type removeBans struct{ IDs []uint64 }

// RemoveBans removes bans, all of them or none: ErrNoBan if one does not exist.
func (s *Store) RemoveBans(ids ...uint64) error {
	_, err := s.change(removeBans{ids})
	return err
}

func (removeBans) room() uint64 { return 0 }

func (c removeBans) apply(st state) (o outcome, err error) {
	bucket := st.tx.Bucket(bucketBans)
	for _, id := range c.IDs {
		if bucket.Get(u64(id)) == nil {
			return o, fmt.Errorf("ban #%d: %w", id, ErrNoBan)
		}
		if err := bucket.Delete(u64(id)); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (removeBans) updateMemory(*Store, outcome) {}

func (c removeBans) notify(f *Changes, _ outcome) { f.Unbanned(c.IDs) }

// Bans returns the bans that are in force at a time, by ID. Corrupt ones are
// skipped; RemoveBans removes them too.
func (s *Store) Bans(now time.Time) (bans []Ban, err error) {
	err = s.file.view(func(tx *bolt.Tx) error {
		for b, err := range allBans(tx) {
			if err != nil {
				s.countRecord(bucketBans, u64(b.ID))
			} else if !b.expired(now) {
				bans = append(bans, b)
			}
		}
		return nil
	})
	return bans, err
}

// allBans iterates over the bans. A corrupt one has an error, and of its fields
// only the ID.
func allBans(tx *bolt.Tx) iter.Seq2[Ban, error] {
	return func(yield func(Ban, error) bool) {
		for k, v := range records(tx.Bucket(bucketBans)) {
			var b Ban
			err := decodeJSON(k, v, &b)
			if err != nil {
				b, err = Ban{}, fmt.Errorf("the record of ban #%d: %w", seqOf(k), err)
			}
			if b.ID = seqOf(k); !yield(b, err) {
				return
			}
		}
	}
}
