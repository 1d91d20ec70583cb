package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// auditKept is how many entries of the audit are kept of each kind.
const auditKept = 100_000

// auditText bounds each text of an entry, in bytes: with auditKept that bounds what
// the audit takes. What comes over the network has less: a verb, a name and an
// address.
const auditText = 2 << 10

// auditNetwork is set in the keys of entries of the network. They are counted by
// themselves, so that no stranger can push out what operators did.
const auditNetwork = 1 << 63

// Doors by which a change can come.
const (
	DoorAdmin  = "admin socket"
	DoorMaster = "master port"
	DoorSignal = "signal"
	DoorTool   = "roomd store"
)

// Audit is a command that changed something, and what came of it.
type Audit struct {
	Time   time.Time `json:"time"`
	UID    int       `json:"uid"` // -1: not of this machine, or not known
	User   string    `json:"user,omitempty"`
	From   string    `json:"from,omitempty"` // the address it came from
	Door   string    `json:"door,omitempty"` // the way it came in
	Line   string    `json:"line"`
	Result string    `json:"result"`
}

// addAudit keeps an entry, and of its kind so many.
type addAudit struct {
	Entry Audit
	Kept  uint64
}

// AddAudit keeps an entry; when it returns nil it is on disk. The newest
// 100,000 are kept, and as many from the master port; of a text 2 KiB.
func (s *Store) AddAudit(a Audit) error {
	_, err := s.change(addAudit{a, auditKept})
	return err
}

func (addAudit) room() uint64 { return 0 }

func (c addAudit) apply(st state) (o outcome, err error) {
	return o, putAudit(st.tx, c.Kept, c.Entry)
}

func (addAudit) updateMemory(*Store, outcome) {}

// Nobody sees it who does not ask.
func (addAudit) notify(*Changes, outcome) {}

// putAudit keeps entries with what else the transaction does.
func putAudit(tx *bolt.Tx, kept uint64, all ...Audit) error {
	bucket := tx.Bucket(bucketAudit)
	for _, a := range all {
		for _, text := range []*string{&a.User, &a.From, &a.Door, &a.Line, &a.Result} {
			*text = truncate(*text, auditText)
		}
		v, err := json.Marshal(a)
		if err != nil {
			return err
		}
		var id uint64
		if a.Door == DoorMaster {
			id = auditNetwork + 1
			if k, _ := bucket.Cursor().Last(); k != nil && seqOf(k) >= id {
				id = seqOf(k) + 1
			}
		} else if id, err = bucket.NextSequence(); err != nil {
			return err
		}
		if id&^auditNetwork > kept {
			if err := bucket.Delete(u64(id - kept)); err != nil {
				return err
			}
		}
		if err := bucket.Put(u64(id), seal(u64(id), v)); err != nil {
			return err
		}
	}
	return nil
}

// truncate is a text, or the beginning of one that has more bytes than that.
func truncate(text string, most int) string {
	const dots = "…"
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len(dots)], "") + dots
}

// auditScan bounds the entries that one read transaction looks at.
const auditScan = 1000

// Audits returns the newest most entries since a time that want lets through, the
// oldest first; a nil want lets all through. Those that are damaged are left out
// and counted. ctx ends it. It works on a store that was not started, too.
func (s *Store) Audits(ctx context.Context, since time.Time, most int, want func(*Audit) bool) (all []Audit, damaged int, err error) {
	for _, kind := range [][2]uint64{{auditNetwork, math.MaxUint64}, {0, auditNetwork - 1}} {
		found := 0
		for least, upto, more := kind[0], kind[1], true; more && err == nil; {
			if ctx.Err() != nil {
				return nil, 0, context.Cause(ctx)
			}
			err = s.file.view(func(tx *bolt.Tx) error {
				c := tx.Bucket(bucketAudit).Cursor()
				k, v := seekLast(c, upto)
				for range auditScan {
					if more = k != nil && seqOf(k) >= least && found < most; !more {
						return nil
					}
					a, err := decodeAudit(k, v)
					switch {
					case err != nil:
						s.countRecord(bucketAudit, k)
						damaged++
					case a.Time.Before(since):
						more = false
						return nil
					case want == nil || want(&a):
						all = append(all, a)
						found++
					}
					upto = seqOf(k) - 1
					k, v = c.Prev()
				}
				return nil
			})
		}
	}
	slices.Reverse(all)
	slices.SortStableFunc(all, func(a, b Audit) int { return a.Time.Compare(b.Time) })
	return all[max(0, len(all)-most):], damaged, err
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
