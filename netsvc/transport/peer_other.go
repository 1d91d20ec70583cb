//go:build !linux

package transport

import "time"

type peerState struct {
	unacked, resending bool
	silence            time.Duration
}

// probePeer knows nothing: the system's own time-out ends a connection whose peer vanished
// while bytes were on their way.
func probePeer(uintptr) peerState { return peerState{} }

// wasReset knows nothing: the unfinished last line of a client that resets the connection
// while it is written to may be taken as said.
func wasReset(uintptr) bool { return false }

// hungUp and hasUnread know nothing: a stop does not wait for what clients have sent.
func hungUp(uintptr) bool { return false }

func hasUnread(uintptr) bool { return false }

// canRead knows nothing: a reader holds its buffer while it waits.
func canRead(uintptr) (bool, error) { return true, nil }

// unacked knows nothing: lines that a client has may come to it once more.
func (c *Conn) unacked() (uint32, bool) { return 0, false }

func (c *Conn) onWire(written uint32) uint32 { return written }
