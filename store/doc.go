// Package store keeps everything that must survive: rooms, their ports and
// their lines, in one bbolt file. It is the only importer of bbolt, and the
// only place that decides order: a line has its sequence number from here.
//
// # Files
//
// What callers see is in rooms.go, lines.go, bans.go, trash.go, plans.go and
// audit.go; what they can change, as data, in changes.go and beside the types of
// its kind; what they are told, as a Follower, there too. The parts inside, each a
// type with fields of its own:
//
//	queue       what the committer is to do, in order       queue.go
//	batch       lines that get their numbers together       batch.go
//	writer      their record, on its way to the journal     batch.go
//	checkpoint  what the database lacks yet                 checkpoint.go
//	retention   what is removed, and when                   retention.go
//	recovery    what a failed write left; reading at Open   recovery.go
//	health      read-only, full, a slow disk                health.go
//	corruption  records that are skipped                    corruption.go
//	database    the open file                               database.go
//
// Package block has the bytes of lines, wal the journal, boltcheck what is known of
// bbolt's pages, disk what is known of files; none of them knows a Store.
//
// # The way of a line
//
// Lines that arrive while a commit syncs go, from all rooms together, into the
// next one (group commit): one record of the journal, which is a file beside
// the database, in one write and one sync. The disk's own time is the batch;
// no timer runs. From then on readers see the lines, in memory, as blocks of
// some kilobytes for each room. When there are checkpointBytes of those, or nobody
// has said anything for a while, or at Close, they are folded: all blocks go
// into the database in one transaction, and the journal begins again. After a
// crash Open reads the journal. A store that was closed is one file.
//
// # Goroutines
//
// One committer goroutine, started by Start and ended by Close, makes every
// change, and owns batch, writer, checkpoint, retention and recovery. Changes other
// than lines (create, delete, …) travel through the same queue, each in a
// transaction of its own, so that they have a place in the order of the lines. They
// are data: apply makes them from what is in the database and nothing else, applied
// brings memory to it after the commit, and report tells the Follower, who shows them.
// Between batches the committer does one small step of
// housekeeping at a time: retention and the trash. It has no timer while there
// is nothing to flush, to fold or to get too old.
//
// Readers use short read transactions of their own, on the caller's goroutine,
// and copy what they return: nothing is held while a caller writes to a client.
//
// # Locks
//
// queue.mu guards the queue, health.mu why the store is read-only. Store.mu guards
// the heads: what is known of each room without reading the file, and its newest
// lines. They are held for memory accesses only, never across a transaction, and
// never together. database.mu is held by readers while they read, and by the
// committer while the file is closed; it comes before Store.mu. The Follower is
// called on the committer's goroutine without any lock.
//
// # On disk
//
//	meta           schema version; the journal in use; whether a relaxed server
//	               is running; the stop that is planned, as JSON
//	rooms/<id>     Room as JSON, with the deletion that is planned; a deleted room
//	               stays here while in the trash
//	heads/<id>     last sequence number, lines, bytes, trimmed
//	names/<key>    folded name → id, of the rooms that are not deleted
//	ports/<port>   the room that has it, or the order in which it was released
//	lines/<id>/<seq>  a block of lines, by the number of the first
//	bans/<id>      Ban as JSON
//	audit/<n>      Audit as JSON, the newest 100,000 of each kind
//
// Numbers in keys are big endian. Blocks, heads and what is JSON end in or begin
// with a checksum that their key takes part in. A block that is damaged is left
// out by readers, and Check names it. So is a damaged ban, a damaged record of
// the audit, and a room whose record or head is damaged: Open names them
// (Warnings, LeftOut), and nothing of them is changed or removed. names and ports
// lead to such a room still, so that no other gets what is its own; its lines in
// the journal go with that. A file with damaged records is not compacted.
//
// A head on disk says what is folded: of the journal, the lines above its last
// sequence number count. Retention moves Trimmed, which hides lines at once;
// their blocks go with the next folds.
//
// # Durability
//
// With Commit a line is synced before the follower sees it. With Relaxed that
// comes first and the write follows within the flush interval; after a crash
// sequence numbers jump ahead, so that none that anybody saw is given twice.
//
// A failed sync may have lost pages that later syncs report as written. The
// store therefore refuses every further change after one (ErrReadOnly) until
// the file has been opened again. What was refused is taken back at once, from the
// journal and the database, as the disk may have it nevertheless. A full disk is
// different: it fails cleanly, and the next change is simply tried.
//
// # Versions
//
// Open rewrites a file of an older version beside it and puts the new one in
// its place; the old one stays as <file>.schemaN. testdata has a file of every
// version there ever was. What is added so that an older roomd can go on with the
// file is no new version: buckets and keys that it leaves alone, and fields of
// records, which it drops when it writes the record. (A plan is such a field: an
// older roomd does not carry it out, and forgets it with the next change of the room.)
package store
