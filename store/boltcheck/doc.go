// Package boltcheck knows what bbolt's pages look like, and is the only code here
// that does: it reads them with reads of its own, where bbolt's own check follows a
// damaged page number out of the file, in a goroutine where that ends the process;
// and it takes back the newest transaction of a file, for which bbolt has no call.
//
// The format is that of version 2, the only one since 2014
// (go.etcd.io/bbolt/internal/common). A test writes a file with the bbolt of
// go.mod, reads it with this package, and fails when the two do not agree.
//
// The package knows nothing of what is in the buckets. There is no goroutine and
// no lock: the caller sees to it that nothing writes to the file.
package boltcheck
