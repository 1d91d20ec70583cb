package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// auditKept is how many entries of the audit are kept.
const auditKept = 100_000

// Audit is a command that changed something, and what came of it.
type Audit struct {
	Time   time.Time `json:"time"`
	UID    int       `json:"uid"`
	User   string    `json:"user,omitempty"`
	Line   string    `json:"line"`
	Result string    `json:"result"`
}

// AddAudit keeps an entry; when it returns nil it is on disk. The newest
// 100,000 are kept.
func (s *Store) AddAudit(a Audit) error { return s.addAudit(a, auditKept) }

func (s *Store) addAudit(a Audit, kept uint64) error {
	return s.update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketAudit)
		id, err := bucket.NextSequence()
		if err != nil {
			return err
		}
		v, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if id > kept {
			if err := bucket.Delete(u64(id - kept)); err != nil {
				return err
			}
		}
		return bucket.Put(u64(id), seal(u64(id), v))
	}, nil)
}

// Audits returns the newest most entries since a time, the oldest first. Those
// that are damaged are left out and counted. It works on a store that was not
// started, too.
func (s *Store) Audits(since time.Time, most int) (all []Audit, damaged int, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketAudit).Cursor()
		for k, v := c.Last(); k != nil && len(all) < most; k, v = c.Prev() {
			a, err := decodeAudit(k, v)
			if err != nil {
				s.skipped(bucketAudit, k)
				damaged++
				continue
			}
			if a.Time.Before(since) {
				break
			}
			all = append(all, a)
		}
		return nil
	})
	slices.Reverse(all)
	return all, damaged, err
}

func decodeAudit(k, v []byte) (a Audit, err error) {
	if v, err = unseal(k, v); err == nil {
		err = json.Unmarshal(v, &a)
	}
	if err != nil {
		return Audit{}, fmt.Errorf("the record %d of the audit: %w", seqOf(k), err)
	}
	return a, nil
}
