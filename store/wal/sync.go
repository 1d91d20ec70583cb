package wal

import (
	"errors"
	"os"
)

// SyncDir brings to disk which files are in a folder: after a file was made,
// renamed or removed.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
