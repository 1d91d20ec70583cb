//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// cursor is a file with the sequence number of the last line that was dealt
// with. One process at a time has it.
type cursor struct{ file *os.File }

// openCursor opens a file, which it makes if need be, and reads it. ok is false
// if there is nothing in it yet. The end of the process frees it, whatever ends
// it.
func openCursor(name string) (c cursor, seq uint64, ok bool, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return cursor{}, 0, false, err
	}
	seq, ok, err = take(f)
	if err != nil {
		f.Close()
		return cursor{}, 0, false, fmt.Errorf("%s: %w", name, err)
	}
	return cursor{f}, seq, ok, nil
}

func take(f *os.File) (seq uint64, ok bool, err error) {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another process goes by this file")
		}
		return 0, false, err
	}
	var b [64]byte
	n, _ := f.ReadAt(b[:], 0) // what is not there is not a number
	text := strings.TrimSpace(string(b[:n]))
	if text == "" {
		return 0, false, nil
	}
	if seq, err = strconv.ParseUint(text, 10, 64); err != nil {
		return 0, false, errors.New("it does not hold a sequence number; remove it to begin anew")
	}
	return seq, true, nil
}

// set writes another number over the old one. It is one write of a few bytes
// within a page: no end of the process can leave half of it. (A new file renamed
// into place for each line took 50 times as long.)
func (c cursor) set(seq uint64) error {
	_, err := c.file.WriteAt(fmt.Appendf(nil, "%-20d\n", seq), 0)
	return err
}

func (c cursor) close() error { return c.file.Close() }
