//go:build unix

package tail

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"roomd/netsvc/client"
)

// cursorFile is a file with the number of the last printed line in its first line, and the
// history of that number in its second one. One process at a time uses it.
type cursorFile struct{ file *os.File }

// openCursor opens and reads a file, which it creates if it does not exist. ok is false for an
// empty file. The file of an older roomd has no history. The lock ends with the process.
func openCursor(name string) (f cursorFile, at client.Cursor, ok bool, err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return cursorFile{}, at, false, err
	}
	at, ok, err = lockCursor(file)
	if err != nil {
		file.Close()
		return cursorFile{}, at, false, fmt.Errorf("%s: %w", name, err)
	}
	return cursorFile{file}, at, ok, nil
}

// maxCursorBytes is larger than any cursor file.
const maxCursorBytes = 256

func lockCursor(f *os.File) (at client.Cursor, ok bool, err error) {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another process uses this file")
		}
		return at, false, err
	}
	var b [maxCursorBytes]byte
	n, _ := f.ReadAt(b[:], 0) // a short read is fine: the file is small, or empty
	words := strings.Fields(string(b[:n]))
	if len(words) == 0 {
		return at, false, nil
	}
	at.Seq, err = strconv.ParseUint(words[0], 10, 64)
	switch {
	case err != nil || len(words) == 2 || len(words) > 3:
		return at, false, errors.New("the file does not contain a sequence number; remove it to begin with the oldest line that is kept")
	case len(words) == 3:
		at.RoomID, at.Epoch = words[1], words[2]
	}
	return at, true, nil
}

// set replaces the cursor in the file. It is one write of a few bytes within a page, so a killed
// process cannot leave half of it. (A new file renamed into place for each line took 50 times
// as long.)
func (c cursorFile) set(at client.Cursor) error {
	b := fmt.Appendf(nil, "%-20d\n", at.Seq)
	if at.RoomID != "" {
		b = fmt.Appendf(b, "%-80s\n", at.RoomID+" "+at.Epoch)
	}
	_, err := c.file.WriteAt(b, 0)
	return err
}

func (c cursorFile) close() error { return c.file.Close() }
