// Package chat is a person at a terminal, in one or more rooms.
//
// What is typed goes to the current room; a line that begins with / is a command. What
// comes is printed above the line that is being typed. netsvc/client keeps each room
// connected and says nothing twice; here lines wait for it while it is away. Nothing
// that came from the network gets to the terminal as it is (wire.CleanString).
//
// The terminal belongs to admin/term, which alone writes to it. Without one, lines are
// read and printed as they come.
//
// # Goroutines and locks
//
//	Run                reads lines and carries them out, until the person leaves
//	membership.listen  one a room: takes its events and prints them
//	membership.speak   one a room: sends what is queued, in order; another one waits
//	                   for the receipts
//	tasks              a command that asks the server, beside the person
//	signals            ends all that, also while nobody reads from the terminal
//
// chat.mu guards the rooms and which is the current one, membership.mu what one room
// has to send and who is there. chat.mu may be held while membership.mu is taken, never
// the other way round. Neither is held while the server is asked or the editor prints.
package chat
