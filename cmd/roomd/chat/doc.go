// Package chat is the interactive client: a person at a terminal, in one or more rooms.
//
// A line that is typed goes to the current room; a line that begins with / is a command.
// Events of the rooms are printed above the line that is being typed. netsvc/client
// keeps each room connected and sends no line twice; while a connection is away, lines
// wait here. No text from the network gets to the terminal before wire.CleanString.
//
// The terminal belongs to admin/term, which alone writes to it. Without a terminal,
// lines are read and printed as they come.
//
// # Goroutines and locks
//
//	Run                reads lines and carries them out, until the person leaves
//	membership.readEvents  one for each room: takes its events and prints them
//	membership.sendQueue   one for each room: sends the queued lines in order; another
//	                   goroutine of its own waits for the receipts
//	chat.goRequest           one for each command that asks the server
//	the signals' one   ends all of them, also while nobody reads from the terminal
//
// chat.mu guards the list of rooms and the current one. membership.mu guards the queue
// and the members of one room. chat.mu may be held while membership.mu is taken, never
// the other way round. Neither is held while the server is asked or the editor prints.
package chat
