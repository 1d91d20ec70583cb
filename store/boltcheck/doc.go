// Package boltcheck is the only code here that knows the format of bbolt's pages. It
// checks them with reads of its own: bbolt's own check follows a corrupt page number out
// of the file, on a goroutine where the fault ends the process. It reverts the newest
// transaction of a file, for which bbolt has no call.
//
// The format is that of version 2, the only one since 2014
// (go.etcd.io/bbolt/internal/common). A test writes a file with the bbolt of go.mod,
// reads it with this package, and fails when the two do not agree.
//
// The package knows nothing of the content of the buckets. There is no goroutine and no
// lock: the caller makes sure that nothing writes to the file.
package boltcheck
