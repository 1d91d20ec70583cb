package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
	"roomd/store/disk"
)

// rewriteBytes bounds a transaction of rewrite, and so the memory it takes.
const rewriteBytes = 16 << 20

// rewrite copies a database of this version or an older one into an empty new
// one of this version, without the lines that retention has removed and without free
// pages. The old one has no WAL and does not change meanwhile.
func rewrite(ctx context.Context, old *bolt.DB, path string, progress Progress) (err error) {
	// Nothing refers to the new file before it is complete: it is synced once.
	to, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	w := &rewriter{ctx: ctx, db: to, progress: progress}
	err = viewDB(old, func(tx *bolt.Tx) error {
		version, err := schemaOf(tx)
		if err != nil {
			return err
		}
		if w.tx, err = to.Begin(true); err != nil {
			return err
		}
		defer func() {
			if w.tx != nil {
				err = errors.Join(err, w.tx.Rollback())
			}
		}()
		w.total = tx.Size()
		if err := w.all(tx, version); err != nil {
			return err
		}
		return w.commit()
	})
	return errors.Join(err, to.Sync(), to.Close())
}

type rewriter struct {
	ctx  context.Context
	db   *bolt.DB
	tx   *bolt.Tx
	size int // bytes of the records in tx

	done, total int64 // bytes; free pages count in total only
	progress    Progress
}

func (w *rewriter) commit() error {
	tx := w.tx
	w.tx = nil
	return tx.Commit()
}

// put puts a record into a bucket, or into the bucket within it.
func (w *rewriter) put(bucket, within, k, v []byte) (err error) {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if w.size += len(k) + len(v); w.size > rewriteBytes {
		if err := w.commit(); err != nil {
			return err
		}
		if w.tx, err = w.db.Begin(true); err != nil {
			return err
		}
		w.size = 0
	}
	if w.done += int64(len(k) + len(v)); w.progress != nil {
		w.progress(w.done, w.total)
	}
	b := w.tx.Bucket(bucket)
	if within != nil {
		b = b.Bucket(within)
	}
	b.FillPercent = fillPercent
	return b.Put(k, v)
}

// all copies all buckets of a database of that version.
func (w *rewriter) all(tx *bolt.Tx, version uint64) error {
	for _, name := range buckets {
		to, err := w.tx.CreateBucket(name)
		if err != nil {
			return err
		}
		if from := tx.Bucket(name); from != nil {
			if err := to.SetSequence(from.Sequence()); err != nil {
				return err
			}
		}
	}
	for _, name := range buckets {
		for k, v := range records(tx.Bucket(name)) {
			var err error
			switch string(name) {
			case string(bucketLines):
				err = w.lines(tx, k, version)
			case string(bucketHeads): // lines copies them
			case string(bucketRooms), string(bucketBans), string(bucketAudit):
				if version == 1 {
					v = seal(k, bytes.Clone(v))
				}
				fallthrough
			default:
				err = w.put(name, nil, k, v)
			}
			if err != nil {
				return err
			}
		}
	}
	return w.put(bucketMeta, nil, keySchema, u64(Schema))
}

// lines copies a room's lines, and its head.
func (w *rewriter) lines(tx *bolt.Tx, room []byte, version uint64) error {
	h, err := readHead(tx, room, version)
	if err != nil {
		return err
	}
	h.Lines, h.Bytes, h.unreclaimed = 0, 0, false
	if _, err := w.tx.Bucket(bucketLines).CreateBucket(room); err != nil {
		return err
	}
	out := block.Block{Room: h.id}
	flush := func() error {
		if out.Lines == 0 {
			return nil
		}
		h.Lines += uint64(out.Lines)
		h.Bytes += uint64(out.Size)
		err := w.put(bucketLines, room, u64(out.First), out.Encode())
		out = block.Block{Room: h.id}
		return err
	}
	for k, v := range records(tx.Bucket(bucketLines).Bucket(room)) {
		var b block.Block
		if version == 1 {
			if b, err = decodeV1(k, v); err != nil {
				continue // readers of that version skipped it, too
			}
		} else if b, err = block.Decode(h.id, k, v); err != nil {
			return fmt.Errorf("room %d, the lines from %x on: %w", h.id, k, err)
		}
		if out.Full() || b.First <= out.Last && out.Lines > 0 {
			if err := flush(); err != nil {
				return err
			}
		}
		out.AppendAfter(&b, h.Removed)
	}
	if err := flush(); err != nil {
		return err
	}
	return putHead(w.tx, h.id, h)
}

func readHead(tx *bolt.Tx, room []byte, version uint64) (*head, error) {
	id := seqOf(room)
	if version > 1 {
		return getHead(tx, id)
	}
	b := tx.Bucket(bucketHeads).Get(room)
	if len(b) != 32 {
		return nil, fmt.Errorf("the head of room %d has %d bytes instead of 32", id, len(b))
	}
	return &head{id: id, Stat: Stat{Last: binary.BigEndian.Uint64(b), Removed: binary.BigEndian.Uint64(b[24:])}}, nil
}

// decodeV1 decodes a line of version 1, which was a record: the value was the time in
// microseconds (8), kind (1), length of the nick (1), nick, text.
func decodeV1(k, v []byte) (b block.Block, err error) {
	if len(k) != 8 || len(v) < 10 || len(v) < 10+int(v[9]) || v[8] < byte(Message) || v[8] > byte(Topic) {
		return b, block.ErrCorrupt
	}
	nick := 10 + int(v[9])
	b.Add(seqOf(k), int64(binary.BigEndian.Uint64(v)), Kind(v[8]), string(v[10:nick]), string(v[nick:]))
	return b, nil
}

// migrate rewrites a database of an older version in this version. The old file stays
// as path.schemaN. db holds the lock until the new file is in place, and is closed.
func migrate(ctx context.Context, db *bolt.DB, path string, version uint64, progress Progress) error {
	kept := fmt.Sprintf("%s.schema%d", path, version)
	err := replace(ctx, db, path, kept, progress)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("bring the database %s from version %d to %d: %w", path, version, Schema, err)
	}
	return nil
}

// replace rewrites db, which is at path, into a new file, checks the new file and puts
// it at path. The old file stays as kept; if kept is empty it is removed.
func replace(ctx context.Context, db *bolt.DB, path, kept string, progress Progress) error {
	return disk.WithTemp(path, disk.ForDatabase, func(f *os.File) error {
		if err := f.Close(); err != nil {
			return err
		}
		if err := rewrite(ctx, db, f.Name(), progress); err != nil {
			return err
		}
		if err := runUntilDone(ctx, func() error { return checkFile(f.Name()) }); err != nil {
			return fmt.Errorf("the new file: %w", err)
		}
		if kept != "" {
			if err := disk.LinkOrCopy(path, kept); err != nil {
				return fmt.Errorf("keep the old file as %s: %w", kept, err)
			}
		}
		return disk.Rename(f.Name(), path)
	})
}

// runUntilDone runs fn, which only reads, and abandons it when ctx is done: checking
// a large file takes minutes, and the process is about to end. It returns nil only if
// ctx is not done, even if fn has ended before: a rename follows.
func runUntilDone(ctx context.Context, fn func() error) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err = <-done:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// checkFile checks a file that no store has open for writing.
func checkFile(path string) error {
	db, err := openToCheck(path)
	if err != nil {
		return err
	}
	return errors.Join(viewDB(db, checkTx), db.Close())
}
