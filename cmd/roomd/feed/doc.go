// Package feed sends the lines of an input into a room, each once and in order.
//
// A source reads the input and cuts it into lines that the server takes. A sender
// keeps a window of them under way, fewer where the server is slow. A line that is
// refused for now (the member is muted, the room or the database is read-only, the
// disk is full) is tried again before the lines behind it. A line that cannot be sent
// is left out, and the feed goes on. The result says which lines are not in the room.
//
// No line is there twice: netsvc/client sees to it, as long as nobody else has the
// sender's nick.
//
// # Goroutines
//
//	Send                 owns the sender: it alone posts lines and takes receipts
//	source.each          reads the input; it stays behind if a read never returns
//	remote.Outage.Watch  takes the room's events
package feed
