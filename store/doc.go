// Package store keeps everything that must survive: rooms, their ports and
// their lines, in one bbolt file. It is the only importer of bbolt, and the
// only place that decides order: a line has its sequence number from here.
//
// # Goroutines
//
// One committer goroutine, started by Start and ended by Close, makes every
// change to the file. Lines that arrive while a transaction syncs go, from all
// rooms together, into the next one (group commit). Changes other than lines
// (create, delete, …) travel through the same queue, each in a transaction of
// its own, so that they have a place in the order of the lines. Between
// batches the committer does one small step of housekeeping at a time:
// retention and the trash.
//
// Readers use short read transactions of their own, on the caller's goroutine,
// and copy what they return: nothing is held while a caller writes to a client.
//
// # Locks
//
// Store.mu guards the heads (what is known of each room without reading the
// file) and the queue. It is held for memory accesses only, never across a
// transaction. The deliver function is called on the committer's goroutine
// without any lock.
//
// # On disk
//
//	meta           schema version; whether a relaxed server is running
//	rooms/<id>     Room as JSON; a deleted room stays here while in the trash
//	heads/<id>     last sequence number, lines, bytes, trimmed: 32 bytes
//	names/<key>    folded name → id, of the rooms that are not deleted
//	ports/<port>   the room that has it, or the order in which it was released
//	lines/<id>/<seq>  time, kind, nick, text
//	bans/<id>      Ban as JSON
//	audit/<n>      Audit as JSON, the newest 100,000
//
// Numbers in keys are big endian. The heads are apart from the rooms because
// every commit rewrites the heads of the rooms that spoke: 32 bytes each and
// not a whole record.
//
// # Durability
//
// With Commit a line is synced before deliver sees it. With Relaxed deliver
// comes first and the write follows within the flush interval; after a crash
// sequence numbers jump ahead, so that none that anybody saw is given twice.
//
// A failed sync may have lost pages that later syncs report as written. The
// store therefore refuses every further change after one (ErrReadOnly) until
// the file has been opened anew. A full disk is different: it fails cleanly,
// and the next change is simply tried.
package store
