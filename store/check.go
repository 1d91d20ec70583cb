package store

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// checkTx compares heads with lines.
func checkTx(tx *bolt.Tx) error {
	if err := checkPages(tx.DB()); err != nil {
		return err // what is in them cannot be followed
	}
	var errs []error
	for err := range tx.Check() {
		errs = append(errs, err)
	}
	ports := make(map[int]uint64)
	err := tx.Bucket(bucketRooms).ForEach(func(k, v []byte) error {
		r, err := decodeRoom(k, v)
		if err != nil {
			return err
		}
		if r.Deleted.IsZero() {
			if other := ports[r.Port]; other != 0 {
				errs = append(errs, fmt.Errorf("rooms %d and %d have the same port %d", other, r.ID, r.Port))
			}
			ports[r.Port] = r.ID
			if id := tx.Bucket(bucketNames).Get([]byte(r.Key)); string(id) != string(k) {
				errs = append(errs, fmt.Errorf("room %q: its name leads to room %x", r.Name, id))
			}
			if use, ok := decodePort(tx.Bucket(bucketPorts).Get(portKey(r.Port))); !ok || use.room != r.ID {
				errs = append(errs, fmt.Errorf("room %q: its port %d leads to room %d", r.Name, r.Port, use.room))
			}
		}
		h, err := getHead(tx, r.ID)
		if err != nil {
			errs = append(errs, fmt.Errorf("room %q: %w", r.Name, err))
			return nil
		}
		b := tx.Bucket(bucketLines).Bucket(k)
		if b == nil {
			errs = append(errs, fmt.Errorf("room %q has no lines bucket", r.Name))
			return nil
		}
		if err := checkLines(b, r.ID, h); err != nil {
			errs = append(errs, fmt.Errorf("room %q: %w", r.Name, err))
		}
		return nil
	})
	errs = append(errs, err)
	errs = append(errs, eachBan(tx, func(Ban) {}))
	errs = append(errs, tx.Bucket(bucketAudit).ForEach(func(k, v []byte) error {
		_, err := decodeAudit(k, v)
		return err
	}))
	errs = append(errs, tx.Bucket(bucketNames).ForEach(func(k, v []byte) error {
		if r, err := getRoom(tx, seqOf(v)); err != nil || r.Key != string(k) {
			return fmt.Errorf("the name %q leads to room %x, which is not there or has another", k, v)
		}
		return nil
	}))
	return errors.Join(append(errs, tx.Bucket(bucketLines).ForEach(func(k, _ []byte) error {
		if tx.Bucket(bucketRooms).Get(k) == nil {
			return fmt.Errorf("there are lines of room %x, which is not there", k)
		}
		return nil
	}))...)
}

// checkLines compares a room's blocks with its head.
func checkLines(b *bolt.Bucket, room uint64, h *head) error {
	var errs []error
	var lines, bytes, last uint64
	err := b.ForEach(func(k, v []byte) error {
		got, err := decodeBlock(room, k, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("the lines from %x on: %w", k, err))
			return nil
		}
		if got.first <= last || got.last > h.Last || got.first <= h.Trimmed && !h.unswept {
			errs = append(errs, fmt.Errorf("the lines %d to %d: not between %d and %d", got.first, got.last, max(last, h.Trimmed), h.Last))
		}
		sc, n, size := got.scan(), uint32(0), uint32(0)
		for sc.next() {
			if sc.seq <= last {
				errs = append(errs, fmt.Errorf("line %d comes after %d", sc.seq, last))
			}
			last = sc.seq
			n++
			size += uint32(sc.weight())
			if sc.seq > h.Trimmed {
				lines++
				bytes += sc.weight()
			}
		}
		if sc.bad || n != got.lines || size != got.size || last != got.last || sc.micros != got.end {
			errs = append(errs, fmt.Errorf("the lines %d to %d: %w", got.first, got.last, errBlock))
		}
		return nil
	})
	if lines != h.Lines || bytes != h.Bytes {
		errs = append(errs, fmt.Errorf("%d lines of %d bytes, its head says %d of %d", lines, bytes, h.Lines, h.Bytes))
	}
	return errors.Join(append(errs, err)...)
}
