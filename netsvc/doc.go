// Package netsvc is the server on the network: the master port, a TCP port for every room, their
// members, and the limits on all of them. A line goes one way:
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
// A RoomsSession is the session of a client that came through a Door, which speaks another protocol.
// It has a member in each of the client's rooms, and a Protocol of another package for what the
// client says and gets. What arrives for its output from elsewhere (members that join, answers that
// belong to no room) waits under RoomsSession.mu until the holder of the write lock takes it. An
// answer that has to come behind everything in the session's rooms is an insert in the stream of
// each of its members, and the last one to reach it writes the answer. How far its client has got in
// each room is kept by a readers.Reader, so that the client finds its place again: the holder of the
// write lock tells it after each write, which costs other sessions one look at a flag.
//
// A client of the master port whose first line is one of HTTP goes to an HTTPDoor, with what was read: as
// an HTTPConn, which counts and waits in the admission queue as long as it is no session. BeginSession
// makes a RoomsSession of it, over a FrameConn: each of its writes is a message of one room, under the name
// that the client knows at that place of its stream. Such a session has a goroutine that reads and one that
// writes, and stays behind at an upgrade.
//
// # Goroutines
//
//   - the event loops and the other goroutines of transport, which call a session as the
//     handler of its conn: an idle one costs no goroutine and no buffer, and a line session
//     no timer;
//   - one for each line session whose input has to wait (for the rate limit, for lines in
//     flight before a command, or for the store), until the input is handled; one for each
//     line session that has ended, until its conn is closed;
//   - one for each output whose members are being fed from the disk, until the socket is
//     full or they have caught up;
//   - the fan-out of a room, while there is something to write: passes over the members with one
//     write each of all that is pending;
//   - one for each master session and password session whose request commits, takes long or has
//     to wait, whose client has not taken its answers, or which has ended; one for each TLS
//     handshake;
//   - one for the work of a change of a room that takes time: see below;
//   - one for what the clients of RoomsSessions have got (package readers), for a moment every
//     readers.SaveEvery while something moves;
//   - one that gives memory back after a storm of connections (package trim), for some moments;
//   - one for each unbound room, which retries; one for the detection of dead peers, which sleeps
//     while no peer has to acknowledge anything.
//
// # The read lock and the write lock
//
// A conn has a read lock and a write lock (package transport). The holder of the read lock
// owns the session's input. The holder of the write lock owns the output: the bytes that the
// conn has not taken, and the cursors of all members that write to it. The holder is the fan-out
// of one of their rooms, an event loop (for answers, and when a full socket takes more), or the
// goroutine that feeds from the disk. A goroutine that finds the lock taken leaves its work to the
// holder. What goes to one member alone (answers, private messages, a replay, the end) is queued
// as an insert at a cursor, and the holder of the write lock writes it there.
//
// # Reading the history
//
// Stored lines are read in turns (package history): few goroutines read at once, each for one page. A
// member waits for its turn with the write lock of its conn, unless the server is to be suspended. The
// Protocol of a RoomsSession waits with the read lock, and its client is charged for the lines; a
// command of the operator waits until its context ends.
//
// # Locks
//
// In this order: Service.mu, Room.mu, Member.mu, the lock inside roomlog.Log.
// None is held across I/O, a channel send or a transaction.
//
//   - Service.mu: names, rooms, the ports.Queue. Inconsistencies takes it and all Room.mu, to
//     see one moment.
//
//   - Room.mu: members, nicks, state, topic. Admission and closing take it, and
//     so does every append to the log, which makes "this member reads JSON from
//     here on" one moment.
//
//   - RoomsSession.mu comes after Member.mu and before nothing. The locks of package readers come
//     after Room.mu.
//
//   - Member.mu: the queue of inserts and the lines in flight. The holder of the
//     write lock reads the log under it, so that an insert can be queued together with an append.
//
//   - The lock of changes of the engine comes before all of them, and so does the
//     lock of a listener, which is held while it accepts.
//
//   - admissionQueue.mu guards the connections that wait to be admitted, and requestSession.mu the
//     output and the end of a session. They, in this order, and the locks of package passwd come
//     after all of these.
//
//   - The locks of the watchers, of the tallies and of package limit come last: no other lock is
//     taken under them.
//
// Bans are a list (package ban) that is replaced as a whole: joining takes no lock for them.
//
// # The store leads
//
// A request that changes something reserves what it needs, submits the change to the store, and
// waits. The change becomes visible when the store reports it, in its order (follow.go), whoever
// has submitted it. The store's committer reports, and waits for nothing: what needs no I/O is done
// at once, before the next line is shown. The rest is done by goroutines, for each room in the same
// order: a deletion takes as long as its members drain. Between two changes memory and disk agree,
// which is when Inconsistencies compares them.
//
// # Memory
//
// Bounded: pending input 16 MiB, lines that are not committed yet 16 MiB (store.Options), windows of
// the logs 256 MiB over all rooms and 2 MiB for each (none once all members have read everything;
// the same after a handover, which includes all counts and times), and for each member a page of
// 16 KiB from the disk, and 64 KiB of inserts: 64 MiB for all members together, beyond which each
// may have one. A list of members is rendered as it is read, from a roster that is shared until
// somebody joins or leaves. A member that has ended counts, with its memory, until it has received
// what is pending (leaving.go bounds that).
//
// # Orders
//
// CREATE: reserve the name, bind the port, commit, publish, answer; a failure rolls back in reverse.
// A room that a JOIN through a door has made is provisional: as long as it has had no line and the
// operator has not changed it, its last leave marks it as vacating, which admits nobody, and has it
// deleted for good, its port as it was before. The store refuses that if a line was submitted before;
// then the room goes on. Start and Adopt delete those that were left.
// DELETE: commit, mark closing, accept and tell the clients in the backlog, close the listeners,
// append the farewell, drain the members (bounded), close, put the port into quarantine, answer.
// Start: bind every room, create the first rooms in an empty database, then open the master port.
// An address that the machine does not have is left out and retried (listen.go). Stop: handle the
// input of clients that have closed since (leaving.go), close the master port, commit, tell the
// members, drain them.
package netsvc
