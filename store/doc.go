// Package store keeps everything that must survive a restart: rooms, their ports and
// their lines, in one bbolt file. It is the only importer of bbolt, and the only
// place that decides order: lines get their sequence numbers here.
//
// # Files
//
// The methods for callers are in rooms.go, lines.go, bans.go, trash.go, plans.go,
// audit.go and positions.go. The changes that callers can make, as data, are in
// changes.go and beside the types that they change; changes.go has the Follower, who is
// told of them, too.
// The parts inside, each a type with fields of its own:
//
//	queue       the work of the committer, in order         queue.go
//	batch       lines that get their numbers together       batch.go
//	writer      their record, on its way to the WAL         batch.go
//	checkpoint  lines that are not in the database yet      checkpoint.go
//	retention   removing old lines and deleted rooms        retention.go
//	positions   what readers have read, until it is written positions.go
//	recovery    after a failed write; reading at Open       recovery.go
//	health      read-only, full, slow disk                  health.go
//	corruption  records that are skipped                    corruption.go
//	database    the open file                               database.go
//
// Package lineid finds lines by the IDs that their senders have given them.
// Package block has the bytes of lines, wal the write-ahead log (WAL), boltcheck the
// format of bbolt's pages, disk everything about files; none of them knows a Store.
//
// # The way of a line
//
// Lines that arrive while a commit syncs go, from all rooms together, into the next
// one (group commit): one record of the WAL, which is a file beside the database, in
// one write and one sync. The next batch waits for the disk and not for a timer. After
// the commit readers see the lines, in memory, as blocks of some kilobytes for each
// room. A checkpoint follows when there are checkpointBytes of those, or no line has
// come for a while, or at Close: all blocks go into the database in one transaction,
// and the WAL begins again. After a crash Open reads the WAL. A store that was closed
// is one file.
//
// The lines of a batch have one time, but in a room no line has a time before that of the
// line before it, whatever the clock shows. The first batch with lines of a room since Open
// reads the time of the newest one in the database.
//
// # Goroutines
//
// One committer goroutine, started by Start and ended by Close, makes every change,
// and owns batch, writer, checkpoint, retention, recovery and a part of positions.
// Changes other than lines (create, delete, …) go through the same queue, each in a
// transaction of its own, so that they have a place in the order of the lines. They are
// data: apply makes them from the content of the database and nothing else, updateMemory
// makes memory agree with it after the commit, and notify tells the Follower. Between
// batches the committer does one small step of a job at a time: retention, the trash and
// positions. None of its timers runs while there is nothing to flush, to write into the
// database or to expire.
//
// Readers use short read transactions of their own, on the caller's goroutine, and
// return copies: no transaction is open while a caller writes to a client.
//
// # Locks
//
// queue.mu guards the queue, health.mu the reason why the store is read-only, slowDisk.mu
// the commit that is measured. Store.mu guards the heads: the counts of each room and its
// newest lines, in memory; positions.mu the positions that are not written yet. They are
// held for memory accesses only, never across a transaction, and never together.
// database.mu is held by readers while they read, and by the committer while the file is
// closed; it comes before Store.mu. The Follower is called on the committer's goroutine
// without any lock.
//
// # On disk
//
//	meta           schema version; the WAL in use; whether a relaxed server is
//	               running; the plan to stop the server, as JSON
//	rooms/<id>     Room as JSON, with the plan to delete it; a deleted room stays
//	               here while it is in the trash
//	heads/<id>     last sequence number, lines, bytes, newest removed number
//	names/<key>    folded name → id, of the rooms that are not deleted
//	ports/<port>   the room that has it, or the order in which it was released
//	lines/<id>/<seq>  a block of lines, by the number of the first
//	bans/<id>      Ban as JSON
//	audit/<n>      Audit as JSON, the newest 100,000 of each kind
//	positions/<reader>  the newest line that a reader has, by room
//	ids/...        the lines of senders' IDs: see package lineid
//
// Numbers in keys are big endian. Blocks, heads, positions and JSON records contain a
// checksum that covers their key. Readers skip a corrupt block, and Check names it. Open
// skips a corrupt ban, a corrupt record of the audit, and a room whose record or head is
// corrupt, and names them (Warnings, SkippedRecords); it does not change or remove them.
// Names and ports of a skipped room stay reserved, so that no other room gets them; its
// lines in the WAL are lost. A corrupt record of positions is skipped, named and later
// removed. A file with corrupt records is not compacted.
//
// A head on disk says which lines of the WAL the database has: those up to its last
// sequence number. Retention raises Removed, which hides lines at once; later
// transactions remove their blocks.
//
// # Durability
//
// With Commit a line is synced before the follower gets it. With Relaxed the follower
// gets it first and the write follows within the flush interval; after a crash sequence
// numbers jump ahead, so that no number that was delivered is given twice. Positions of
// readers are written some seconds later, after the lines that they count; a position
// beyond the newest line of its room, as the WAL is lost, is set back at Open: no line
// that comes then is taken for one that was read. The ID of a line is in the record of the
// WAL that has the line, and later in the transaction that moves both into the database:
// after a crash there are both, or none.
//
// A failed sync may have lost pages that later syncs report as written. The store
// therefore refuses every further change after one (ErrReadOnly) until the file has
// been opened again. The refused change is rolled back at once, in the WAL and in the
// database, as the disk may have kept it. A full disk is different: it fails cleanly,
// and the next change is simply tried.
//
// # Versions
//
// Open rewrites a file of an older version into a new file and puts that in its place;
// the old file stays as <file>.schemaN. testdata has a file of every version. An addition
// that an older roomd can ignore is no new version: buckets and keys that it does not
// touch, and fields of records, which it drops when it writes the record. (A plan is
// such a field: an older roomd does not carry it out, and drops it with the next change
// of the room.)
package store
