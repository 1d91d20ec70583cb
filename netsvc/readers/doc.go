// Package readers knows how far the clients of sessions that are in several rooms have got: which
// lines the kernel of each client has acknowledged. A client that comes back gets what it has missed
// from there on.
//
// A Reader is one session. Whenever it writes, it notes that with so many bytes of its output so many
// lines of a room are complete (a mark). Later it asks the conn how many bytes are acknowledged, and
// the marks up to there become the places of the reader. A reader whose client has everything has no
// marks. Nothing is measured in time: a place is never ahead of what the client has, and may be behind
// by the marks that were left out where there were very many.
//
// The Registry knows the readers of a server, and saves their places: while some of them move, in one
// goroutine every SaveEvery; otherwise that goroutine does not exist.
//
// # Several sessions with one key
//
// A client whose connection has broken may be back before the server knows of it: then the new session
// takes the place of the old one. Two clients with the same key at a time share what is saved, and it is
// the place of the one that has less. So a line may come to one of them twice, and never not at all.
//
// # Locks
//
// Registry.mu, and then Reader.mu; no other lock is taken under them but those of the store. Wrote
// takes Reader.mu for the time of a few comparisons, and one ioctl for every few writes.
package readers
