// Package roomlog is a room's log in memory: the newest events, rendered once
// per format, and the cursors that members hold in it.
//
// The log is a window on the room's history. Events are appended at its end;
// when it grows beyond its bound the older half is dropped. A Cursor names a
// place between two events. Read gives everything from a cursor to the end as
// one piece of memory, so that a member is served with one write whatever the
// number of lines. A cursor that has fallen out of the window reads on from
// the store, by sequence number, until Find gives it a place again.
//
// # Locks
//
// Log has one mutex, held for moves of indexes and copies of single events,
// never across I/O. It is the last in the lock order of netsvc. The bytes that
// Read returns may be used without the lock: appending goes behind them, dropping
// moves to a new array. Only Passed allows them to be written over, and it is
// for a caller that knows that all readers are behind them.
//
// # Positions and sequence numbers
//
// Every event has a position, counted from the room's opening. Only those that
// are in the room's history have a sequence number too (Seq > 0); these grow
// but need not be consecutive. Joins, notices and the like have a position only,
// and are lost to a cursor that falls out of the window.
package roomlog
