// Package netsvc is the server on the network: the master port, a TCP port for
// every room, their members, and the limits on all of them. What is said goes
// one way:
//
//	socket → wire → Room → store → roomlog → cursors → sockets
//
// A member's reader frames and cleans a line and submits it to the store. The
// store gives it a sequence number, commits it, and hands it to deliver, which
// renders it once into the room's log. Every member is a cursor in that log.
//
// # Goroutines
//
//   - one for each listener, which accepts;
//   - one for each master connection;
//   - one reader for each member, which lives until the socket is closed and
//     closes it;
//   - the flusher of a room, while there is something to write: passes over the
//     members with one non-blocking write each of all that is pending;
//   - a writer for each member that lags (its socket is full, or what it needs
//     is on disk): ends when the member has caught up;
//   - one for each unbound room, which retries; one sweep for dead peers.
//
// # Who writes to a member's socket
//
// Whoever has the member's hold, and nobody else: the flusher, the reader (for
// answers), or the lagging member's writer. Who wants something written and
// finds the hold taken leaves word ("again") and goes away. What goes to one
// member alone (answers, private messages, a replay, the end) is queued as an
// insert: it belongs at a place of the stream, and the holder puts it there.
//
// # Locks
//
// In this order: Service.mu, Room.mu, Member.mu, the lock inside roomlog.Log.
// None is held across I/O, a channel send or a transaction.
//
//   - Service.mu: names, rooms, the queue of ports, connections counted by
//     address.
//
//   - Room.mu: members, nicks, state, topic. Admission and closing take it, and
//     so does every append to the log, which makes "this member reads JSON from
//     here on" one moment.
//
//   - Member.mu: the queue of inserts and the lines in flight. The holder reads
//     the log under it, so that an insert can be queued together with an append.
//
//   - The locks of the hub (who watches) and of the counters come last; nothing
//     else is taken under them.
//
// Bans are a slice that is replaced as a whole: joining takes no lock for them.
//
// # Orders
//
// CREATE: reserve the name, bind the port, commit, publish, answer; a failure
// undoes in reverse. DELETE: mark closing, commit, accept and warn who is in the
// backlog, close the listeners, append the farewell, let every member drain
// (bounded), close, let the port rest, answer. Start: bind every room, then open
// the master port. Stop: close the master port, commit what is under way, tell
// the members, let them drain.
package netsvc
