//go:build !linux

package wal

import "os"

// Datasync brings what was written to a file to disk.
func Datasync(f *os.File) error { return f.Sync() }
