// Package tail prints the lines of a room as they arrive, each once and in order, and keeps
// its cursor in a file.
//
// A line is written, and then its number is put into the file: a process that is killed
// between the two steps prints that line again and loses none. The file also identifies the
// history of the number (client.Cursor): if the room was restored or created again, tail ends
// with an error instead of skipping lines. One process at a time uses the file: its lock
// (flock) ends with the process.
//
// The goroutine that calls Room does all the work.
package tail
