// Package peer tells which user is at the other end of a unix socket, with its groups,
// as the kernel says it, and when the other end has closed the connection. Each system
// is asked in another way. What that user may do is the caller's subject.
//
// WhenGone has a goroutine for as long as it waits. There is no lock and no state.
package peer
