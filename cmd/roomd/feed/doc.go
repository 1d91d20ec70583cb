// Package feed sends the lines of an input into a room, each once and in order.
//
// A source reads the input and cuts it into lines that the server accepts. A sender keeps a
// window of lines in flight, a smaller one if the server is slow. A line that is refused for
// now (the member is muted, the room or the database is read-only, the disk is full) is sent
// again before the following lines. A line that cannot be sent is skipped. The result says
// which lines are not in the room.
//
// netsvc/client sends no line twice, as long as nobody else uses the nick of the sender.
//
// # Goroutines
//
//	Send                 owns the sender: only it posts lines and reads receipts
//	source.each          reads the input; it leaks if a read never returns
//	remote.Outage.Watch  reads the events of the room
package feed
