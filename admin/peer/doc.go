// Package peer returns the user at the other end of a unix socket and its groups, as the
// kernel reports them, and reports when the other end has closed the connection. Each
// system has another call for that. It also returns the owner of the other end of a TCP
// connection within this machine, where the system says it. The caller decides what the
// user may do.
//
// WhenGone has a goroutine while it waits. There is no lock and no state.
package peer
