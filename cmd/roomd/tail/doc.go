// Package tail prints the lines of a room as they come, each once and in order, and
// remembers in a file how far it is.
//
// A line is written, and then its number is put into the file: a process that is killed
// between the two prints that line again, and loses none. The file also says which
// history the number is of (client.Cursor), so that a room that was put back or made
// again ends the work and leaves no line out. One process at a time has the file: the
// lock on it (flock) ends with the process, whatever ends it.
//
// All is done by the goroutine that calls Room.
package tail
