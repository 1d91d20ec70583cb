// Package wal is the write-ahead log of a database: one file beside the database with
// the commits that are not in the database yet. A commit is one record, written and
// synced at once; Open reads the records again after a crash, skips corrupt ones, and
// says so. The name of the file ends in .journal.
//
// The package knows lines and the numbers of their rooms. It does not know rooms, bbolt
// or the meaning of lines. The database stores a key of the WAL, by which Open rejects a
// file of another database, or of an earlier time.
//
// There is no goroutine and no lock. A File belongs to one goroutine at a time: the
// committer, or the goroutine that the committer starts for one record and waits for.
package wal
