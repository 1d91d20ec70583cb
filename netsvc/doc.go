// Package netsvc is the server on the network: the master port, a TCP port for
// every room, their members, and the limits on all of them. What is said goes
// one way:
//
//	socket → wire → Room → store → roomlog → cursors → sockets
//
// A member's reader frames and cleans a line and submits it to the store. The
// store gives it a sequence number, commits it, and hands it to deliver, which
// renders it into the room's log, once in each format that somebody there reads.
// Every member is a cursor in that log.
//
// # Goroutines
//
//   - the event loops and the other goroutines of transport, which call a member or a
//     session (master port, password) as the handler of its conn: an idle one costs no
//     goroutine and no buffer, and a member no timer;
//   - one for each member whose input has to wait (it is above its allowance, or
//     a command follows lines in flight, or the store is behind), until it has
//     been handled; one for each member that is leaving, until it is gone;
//   - one for each member that is being fed from the disk, until its socket is
//     full or it has caught up;
//   - the flusher of a room, while there is something to write: passes over the
//     members with one write each of all that is pending;
//   - one for each session whose request commits, takes long, or has to wait, whose
//     client has not taken the answers yet, or which is at its end; one for each TLS
//     handshake;
//   - one for what a change of a room has to do that takes time: see below;
//   - one for each unbound room, which retries; one sweep for dead peers, which
//     sleeps while nothing is on its way to anybody.
//
// # The read lock and the write lock
//
// A conn has a read lock and a write lock (package transport), and what a member does
// with its conn is owned by the holder of one of them: its input by that of the read
// lock, its cursor and what is pending by that of the write lock, which is the
// flusher, a loop (for answers, and when a full socket takes more), or the goroutine
// that feeds. What goes to one member alone (answers, private messages, a replay, the
// end) is queued as an insert: it belongs at a place of the stream, and the holder of
// the write lock puts it there.
//
// # Locks
//
// In this order: Service.mu, Room.mu, Member.mu, the lock inside roomlog.Log.
// None is held across I/O, a channel send or a transaction.
//
//   - Service.mu: names, rooms, the queue of ports. With all Room.mu after it
//     Inconsistencies sees one moment.
//
//   - Room.mu: members, nicks, state, topic. Admission and closing take it, and
//     so does every append to the log, which makes "this member reads JSON from
//     here on" one moment.
//
//   - Member.mu: the queue of inserts and the lines in flight. The holder of the
//     write lock reads the log under it, so that an insert can be queued together with an append.
//
//   - The gate for changes of the engine comes before all of them, and so does the
//     lock of a listener, which is held while it accepts.
//
//   - The locks of the hub (who watches), of the counters and of what package limit
//     counts come last; nothing else is taken under them.
//
//   - admissionQueue.mu guards the connections that wait to be admitted, requestSession.mu how a
//     session ends and what is being written to it. They, in this order, and the locks
//     of package passwd come after all of these.
//
// Bans are a slice that is replaced as a whole: joining takes no lock for them.
//
// # The store leads
//
// A request that changes something reserves what it needs, submits the change to the
// store, and waits. What is to be seen of it happens when the store reports it, in its
// order (follow.go), and so does what somebody else has submitted. The report is made
// on the store's committer, which waits for nothing: what needs no I/O is done at once,
// before the next line is shown, and the rest by goroutines, for each room in the same
// order: a deletion takes as long as its members drain.
// Between two changes memory and disk are the same, which is when Inconsistencies
// compares them.
//
// # Memory
//
// Bounded: input that has to wait 16 MiB, lines not yet committed 16 MiB
// (store.Options), windows of the logs 256 MiB over all rooms and 2 MiB for each
// (nothing at all once everybody has read what there is; the same after a handover,
// which takes all counts and times along), and for each member at
// most a page of 16 KiB from the disk, and 64 KiB of inserts: 64 MiB for all of
// them together, beyond which each may have one. A list of members is rendered as
// it is read, from a roster that all share who ask while nobody comes or goes.
// A member that has left keeps its place, and what it holds, until it has got what
// is pending (leaving.go bounds that).
//
// # Orders
//
// CREATE: reserve the name, bind the port, commit, publish, answer; a failure
// undoes in reverse. DELETE: commit, mark closing, accept and warn who is in the
// backlog, close the listeners, append the farewell, let every member drain
// (bounded), close, let the port rest, answer. Start: bind every room, make the
// first ones in an empty database, then open the master port. An address that the
// machine does not have is left out and waited for (listen.go). Stop: hear
// what clients sent that have closed since (leaving.go), close the master port,
// commit what is under way, tell the members, let them drain.
package netsvc
