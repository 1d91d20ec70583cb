package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ErrNoBan is returned for a ban that is not there.
var ErrNoBan = errors.New("no such ban")

// Ban keeps somebody out, or silent. It holds for connections from its address
// and for members with its nick, as far as they are given, until it expires.
type Ban struct {
	ID      uint64    `json:"-"`
	Mute    bool      `json:"mute,omitempty"`   // may be there and not speak
	Addr    string    `json:"addr,omitempty"`   // an IPv4 address or a prefix
	Nick    string    `json:"nick,omitempty"`   // folded
	Member  uint64    `json:"member,omitempty"` // that it was set on; IDs begin again with each start of the server
	Room    uint64    `json:"room,omitempty"`   // 0: every room
	Created time.Time `json:"created"`
	Until   time.Time `json:"until,omitzero"` // zero: until it is lifted
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"why,omitempty"`
}

func (b *Ban) expired(now time.Time) bool { return !b.Until.IsZero() && !now.Before(b.Until) }

// addBans keeps bans, and removes those that had expired by then.
type addBans struct {
	Bans []Ban
	Now  time.Time

	owner any
}

// AddBans keeps bans, all of them or none, and gives each an ID. Those that have
// expired are removed in the same transaction. The follower gets owner.
func (s *Store) AddBans(owner any, bans ...Ban) ([]Ban, error) {
	o, err := s.change(addBans{bans, time.Now(), owner})
	return o.bans, err
}

func (addBans) room() uint64 { return 0 }

func (c addBans) apply(st state) (o outcome, err error) {
	bucket := st.tx.Bucket(bucketBans)
	var old [][]byte
	if err := eachBan(st.tx, func(have Ban) {
		if have.expired(c.Now) {
			old = append(old, u64(have.ID))
		}
	}, func([]byte, error) {}); err != nil {
		return o, err
	}
	for _, k := range old {
		if err := bucket.Delete(k); err != nil {
			return o, err
		}
	}
	o.bans = slices.Clone(c.Bans)
	for i := range o.bans {
		b := &o.bans[i]
		if b.ID, err = bucket.NextSequence(); err != nil {
			return o, err
		}
		v, err := json.Marshal(b)
		if err != nil {
			return o, err
		}
		if err := bucket.Put(u64(b.ID), seal(u64(b.ID), v)); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (addBans) updateMemory(*Store, outcome) {}

func (c addBans) notify(f *Changes, o outcome) { f.Banned(o.bans, c.owner) }

// removeBans lifts bans.
type removeBans struct{ IDs []uint64 }

// RemoveBans lifts bans, all of them or none: ErrNoBan if one is not there.
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

// Bans returns the bans that hold at that time, by ID. What is damaged is left
// out; RemoveBans removes it.
func (s *Store) Bans(now time.Time) (bans []Ban, err error) {
	err = s.file.view(func(tx *bolt.Tx) error {
		return eachBan(tx, func(b Ban) {
			if !b.expired(now) {
				bans = append(bans, b)
			}
		}, func(k []byte, _ error) { s.countRecord(bucketBans, k) })
	})
	return bans, err
}

// eachBan calls bad for those that are damaged.
func eachBan(tx *bolt.Tx, fn func(Ban), bad func(k []byte, err error)) error {
	return tx.Bucket(bucketBans).ForEach(func(k, v []byte) error {
		var b Ban
		v, err := unseal(k, v)
		if err == nil {
			err = json.Unmarshal(v, &b)
		}
		if err != nil {
			bad(k, fmt.Errorf("the record of ban #%d: %w", seqOf(k), err))
			return nil
		}
		b.ID = seqOf(k)
		fn(b)
		return nil
	})
}
