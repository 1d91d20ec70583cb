// Package wal is the write-ahead log of a database, on disk and in messages the
// journal: one file beside the database with the commits that are not in the
// database yet. A commit is one record, written and synced at once; Open reads
// the records again after a crash, leaves out what is damaged, and says so.
//
// The package knows lines and their rooms' numbers, and nothing of rooms, of
// bbolt or of what lines are for. The database keeps a key of the journal, so that
// a file of another database, or of an earlier time, is told from its own.
//
// There is no goroutine and no lock. A File belongs to one goroutine at a time:
// the committer, or the goroutine that it lets write one record and waits for.
package wal
