// Package chat is the interactive client: a person at a terminal, in one or more rooms.
//
// A typed line goes to the current room; a line that begins with / is a command. Events of
// the rooms are printed above the line that is being typed. netsvc/client keeps each room
// connected and sends no line twice; while a room is disconnected, its lines wait in the
// queue of its membership. All text from the network passes wire.CleanString before it is
// printed.
//
// Only admin/term writes to the terminal. Without a terminal, lines are read and printed one
// after the other.
//
// # Goroutines and locks
//
//	Run                    reads lines and carries them out, until the person leaves
//	membership.readEvents  one for each room: prints its events
//	membership.sendQueue   one for each room: sends the queued lines in order, with a
//	                       goroutine that waits for the receipts
//	chat.goRequest         one for each command that asks the server
//	handleSignals          ends the chat, also while nobody reads from the terminal
//
// chat.mu guards the list of rooms and the current one. membership.mu guards the queue
// and the members of one room. chat.mu may be held while membership.mu is taken, never
// the other way round. Neither is held while the server is asked or the editor prints.
package chat
