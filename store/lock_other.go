//go:build !linux

package store

// lockHolder cannot name the process here; lsof or fstat can.
func lockHolder(string) string { return "another process" }
