// Package lineid remembers for a day which line a client's ID belongs to, so that a line
// that is sent again is stored once.
//
// A Key is a hash of a room, of a sender and of the sender's ID. A Place is the line. An
// Index has the newest places in memory, until a transaction writes them, and the others
// in a bucket of the database:
//
//	<generation>             when the generation began, and how many places it has
//	<generation> <key>       a Place
//
// A generation takes the places of some hours, or a number of them: keys are random, and
// so a transaction changes the pages of the newest generation only. A place is removed with
// all of its generation, first the record of the generation, by which its places are dead,
// and then these, step by step. Generations are numbered one after the other. Records
// contain a checksum that covers their key.
//
// It does not know lines, rooms or files. There is no goroutine and no lock: an Index and
// its bucket belong to the store's committer.
package lineid
