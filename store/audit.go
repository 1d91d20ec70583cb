package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// auditKept is how many entries of the audit are kept of each kind.
const auditKept = 100_000

// auditText bounds each text of an entry, in bytes: with auditKept that bounds the
// size of the audit. An entry of the network is shorter: a verb, a name and an
// address.
const auditText = 2 << 10

// auditNetwork is a bit in the keys of entries of the network. They are counted
// apart, so that no stranger can push out the commands of operators.
const auditNetwork = 1 << 63

// The ways by which a change can come (Audit.Door).
const (
	DoorAdmin  = "admin socket"
	DoorPage   = "admin web"
	DoorMaster = "master port"
	DoorIRC    = "irc"
	DoorWeb    = "web"
	DoorSignal = "signal"
	DoorTool   = "roomd store"
)

// Audit is a command that changed something, and its result.
type Audit struct {
	Time   time.Time `json:"time"`
	UID    int       `json:"uid"` // -1: from another machine, or not known
	User   string    `json:"user,omitempty"`
	From   string    `json:"from,omitempty"` // the address it came from
	Door   string    `json:"door,omitempty"` // the way it came in
	Line   string    `json:"line"`
	Result string    `json:"result"`
}

// isNetwork reports whether a client has made the change.
func (a *Audit) isNetwork() bool {
	return a.Door == DoorMaster || a.Door == DoorIRC || a.Door == DoorWeb
}

// addAudit adds an entry, and keeps only the newest Kept entries of its kind.
type addAudit struct {
	Entry Audit
	Kept  uint64
}

// AddAudit adds an entry to the audit; when it returns nil the entry is on disk. The
// newest 100,000 entries are kept, and as many from clients; longer texts
// than 2 KiB are cut off.
func (s *Store) AddAudit(a Audit) error {
	_, err := s.change(addAudit{a, auditKept})
	return err
}

func (addAudit) room() uint64 { return 0 }

func (c addAudit) apply(st state) (o outcome, err error) {
	return o, putAudit(st.tx, c.Kept, c.Entry)
}

func (addAudit) updateMemory(*Store, outcome) {}

// Nobody follows the audit: readers ask for it.
func (addAudit) notify(*Changes, outcome) {}

// putAudit adds entries to the audit in a transaction.
func putAudit(tx *bolt.Tx, kept uint64, all ...Audit) error {
	bucket := tx.Bucket(bucketAudit)
	for _, a := range all {
		for _, text := range []*string{&a.User, &a.From, &a.Door, &a.Line, &a.Result} {
			*text = truncate(*text, auditText)
		}
		var id uint64
		var err error
		if a.isNetwork() {
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
		if err := putJSON(bucket, u64(id), a); err != nil {
			return err
		}
	}
	return nil
}

// truncate returns a text of at most so many bytes; an ellipsis stands for the rest.
func truncate(text string, most int) string {
	const dots = "…"
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len(dots)], "") + dots
}

// auditScan bounds the entries that one read transaction reads.
const auditScan = 1000

// Audits returns entries since a time, the newest most of those for which want
// returns true (nil: of all), the oldest first. Corrupt entries are skipped and
// counted. It fails with the cause of ctx when ctx is done. It works on a store that
// was not started, too.
func (s *Store) Audits(ctx context.Context, since time.Time, most int, want func(*Audit) bool) (all []Audit, skipped int, err error) {
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
						skipped++
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
	return all[max(0, len(all)-most):], skipped, err
}

func decodeAudit(k, v []byte) (a Audit, err error) {
	if err := decodeJSON(k, v, &a); err != nil {
		return Audit{}, fmt.Errorf("the record %d of the audit: %w", seqOf(k), err)
	}
	return a, nil
}
