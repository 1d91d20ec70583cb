package boltcheck

import (
	"encoding/binary"
	"fmt"
	"os"
)

// Revert undoes the transaction tx, the newest of the database at path, whose pages
// have that many bytes: bbolt keeps the state before tx until the next transaction, and
// the meta pages of the two are the first two pages. sync brings the file to disk.
// Nothing may write to the file meanwhile; a reader that has it open finds the state
// before tx.
func Revert(path string, pageSize, tx int, sync func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // an error after the sync means nothing
	before, size := int64(tx+1)%2, int64(pageSize)
	page := make([]byte, size)
	if _, err := f.ReadAt(page, before*size); err != nil {
		return err
	}
	if m, ok := parseMeta(page); !ok || m.tx != uint64(tx-1) {
		return fmt.Errorf("the transaction before %d is not in the file any more", tx)
	}
	binary.NativeEndian.PutUint64(page, uint64(1-before)) // its own number
	if _, err := f.WriteAt(page, (1-before)*size); err != nil {
		return err
	}
	return sync(f)
}
