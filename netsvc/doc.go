// Package netsvc is the server on the network: the master port, a TCP port for
// every room, their members, and the limits on all of them. What is said goes
// one way:
//
//	socket → wire → Room → store → roomlog → cursors → sockets
//
// A session frames and cleans a line, and its member submits it to the store. The store
// gives it a sequence number, commits it, and hands it to deliver, which renders it into
// the room's log, once in each format that somebody there reads. Every member is a cursor
// in that log.
//
// # Sessions and members
//
// A session is the handler of a conn (package transport). It owns members, each in a room
// of its own: the line session of a room's port has one, and ends with it. A session reads
// the input, has one allowance, and decides what the end of a member means for the conn. Its
// members share its output: whoever has the conn's write lock writes for all of them in
// turn, so that a flood in one room does not starve the others. A member knows neither the
// handler of the conn nor its input.
//
// # Goroutines
//
//   - the event loops and the other goroutines of transport, which call a session as the
//     handler of its conn: an idle one costs no goroutine and no buffer, and a line session
//     no timer;
//   - one for each line session whose input has to wait (it is above its allowance, or
//     a command follows lines in flight, or the store is behind), until it has
//     been handled; one for each that is at its end, until its conn is closed;
//   - one for each output whose members are being fed from the disk, until the socket is
//     full or they have caught up;
//   - the flusher of a room, while there is something to write: passes over the
//     members with one write each of all that is pending;
//   - one for each session of the master port or before a password whose request commits, takes long, or has to wait, whose
//     client has not taken the answers yet, or which is at its end; one for each TLS
//     handshake;
//   - one for what a change of a room has to do that takes time: see below;
//   - one for each unbound room, which retries; one sweep for dead peers, which
//     sleeps while nothing is on its way to anybody.
//
// # The read lock and the write lock
//
// A conn has a read lock and a write lock (package transport). The holder of the read lock
// owns the session's input. The holder of the write lock owns the output: the bytes that the
// conn has not taken, and the cursors of all members that write to it. It is the flusher of
// one of their rooms, a loop (for answers, and when a full socket takes more), or the
// goroutine that feeds; one that finds the lock taken leaves its work to the holder. What
// goes to one member alone (answers, private messages, a replay, the end) is queued as an
// insert: it belongs at a place of the stream, and the holder of the write lock puts it there.
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
//   - The lock of changes of the engine comes before all of them, and so does the
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
