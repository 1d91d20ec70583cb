// Package disk is about files, whatever their content: which file a path leads to,
// through symbolic links and under other names; temporary files beside a file, with its
// owner and mode; second names; which process holds a lock; free space; syncs.
//
// It does not know databases. There is no goroutine, no lock and no state: each function
// may be called from any goroutine.
package disk
