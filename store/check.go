package store

import (
	"context"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
	"roomd/store/boltcheck"
)

// checkTx compares heads with lines.
func checkTx(tx *bolt.Tx) error { return checkBut(context.Background(), tx, nil) }

// checkBut is checkTx without a word about what is known to be damaged. ctx ends
// it: then it has found nothing.
func checkBut(ctx context.Context, tx *bolt.Tx, known *spoilt) error {
	err := checkAll(ctx, tx, known)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func checkAll(ctx context.Context, tx *bolt.Tx, known *spoilt) error {
	if err := boltcheck.Pages(ctx, tx.DB().Path(), tx.DB().Info().PageSize); err != nil || ctx.Err() != nil {
		return err // what is in them cannot be followed
	}
	var errs []error
	for err := range tx.Check() {
		errs = append(errs, err)
	}
	bad := func(bucket, k []byte, err error) {
		if err != nil && !known.has(bucket, k) {
			errs = append(errs, err)
		}
	}
	rooms, names, used := tx.Bucket(bucketRooms), tx.Bucket(bucketNames), tx.Bucket(bucketPorts)
	ports := make(map[int]uint64)
	errs = append(errs, rooms.ForEach(func(k, v []byte) error {
		r, err := decodeRoom(k, v)
		if err != nil {
			bad(bucketRooms, k, err)
			return nil
		}
		if r.Deleted.IsZero() {
			if other := ports[r.Port]; other != 0 {
				bad(bucketRooms, k, fmt.Errorf("rooms %d and %d have the same port %d", other, r.ID, r.Port))
			}
			ports[r.Port] = r.ID
			if id := names.Get([]byte(r.Key)); string(id) != string(k) {
				bad(bucketRooms, k, fmt.Errorf("room %q: its name leads to room %x", r.Name, id))
			}
			if use, ok := decodePort(used.Get(portKey(r.Port))); !ok || use.room != r.ID {
				bad(bucketRooms, k, fmt.Errorf("room %q: its port %d leads to room %d", r.Name, r.Port, use.room))
			}
		}
		_, h, err := readRoom(tx, k, v)
		if err == nil {
			err = checkLines(ctx, tx.Bucket(bucketLines).Bucket(k), r.ID, h)
		}
		if err != nil {
			bad(bucketRooms, k, fmt.Errorf("room %q: %w", r.Name, err))
		}
		return nil
	}))
	errs = append(errs, eachBan(tx, func(Ban) {}, func(k []byte, err error) { bad(bucketBans, k, err) }))
	_, err := stopPlan(tx)
	bad(bucketMeta, keyStop, err)
	errs = append(errs, tx.Bucket(bucketAudit).ForEach(func(k, v []byte) error {
		_, err := decodeAudit(k, v)
		bad(bucketAudit, k, err)
		return nil
	}))
	errs = append(errs, names.ForEach(func(k, v []byte) error {
		if r, err := getRoom(tx, seqOf(v)); err != nil || r.Key != string(k) {
			bad(bucketRooms, v, fmt.Errorf("the name %q leads to room %d, which is damaged, or not there, or has another", k, seqOf(v)))
		}
		return nil
	}))
	errs = append(errs, used.ForEach(func(k, v []byte) error {
		use, ok := decodePort(v)
		if r, err := getRoom(tx, use.room); !ok || use.room != 0 && (err != nil || string(portKey(r.Port)) != string(k)) {
			bad(bucketRooms, u64(use.room), fmt.Errorf("the port %x leads to room %d, which is damaged, or not there, or has another", k, use.room))
		}
		return nil
	}))
	return errors.Join(append(errs, tx.Bucket(bucketLines).ForEach(func(k, _ []byte) error {
		if rooms.Get(k) == nil {
			bad(bucketRooms, k, fmt.Errorf("there are lines of room %d, which is not there", seqOf(k)))
		}
		return nil
	}))...)
}

// checkLines compares a room's blocks with its head.
func checkLines(ctx context.Context, b *bolt.Bucket, room uint64, h *head) error {
	var errs []error
	var lines, bytes, last uint64
	err := b.ForEach(func(k, v []byte) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		got, err := block.Decode(room, k, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("the lines from %x on: %w", k, err))
			return nil
		}
		if got.First <= last || got.Last > h.Last || got.First <= h.Trimmed && !h.unswept {
			errs = append(errs, fmt.Errorf("the lines %d to %d: not between %d and %d", got.First, got.Last, max(last, h.Trimmed), h.Last))
		}
		sc, n, size := got.Scan(), uint32(0), uint32(0)
		for sc.Next() {
			if sc.Seq <= last {
				errs = append(errs, fmt.Errorf("line %d comes after %d", sc.Seq, last))
			}
			last = sc.Seq
			n++
			size += uint32(sc.Weight())
			if sc.Seq > h.Trimmed {
				lines++
				bytes += sc.Weight()
			}
		}
		if sc.Bad || n != got.Lines || size != got.Size || last != got.Last || sc.Micros != got.End {
			errs = append(errs, fmt.Errorf("the lines %d to %d: %w", got.First, got.Last, block.ErrDamaged))
		}
		return nil
	})
	if lines != h.Lines || bytes != h.Bytes {
		errs = append(errs, fmt.Errorf("%d lines of %d bytes, its head says %d of %d", lines, bytes, h.Lines, h.Bytes))
	}
	return errors.Join(append(errs, err)...)
}
