//go:build !linux

package transport

import "time"

// probePeer is known on Linux only; elsewhere the system's own time-out ends a
// connection whose peer vanished while data was on the way.
func probePeer(uintptr, time.Duration) (waiting, silent bool) { return false, false }

// wasReset is known on Linux only: elsewhere the unfinished last line of a client
// that resets the connection while it is written to may be taken as said.
func wasReset(uintptr) bool { return false }

// hungUp and hasUnread are known on Linux only; elsewhere a stop does not wait for
// what clients have sent.
func hungUp(uintptr) bool { return false }

func hasUnread(uintptr) bool { return false }

// hasInput is known on Linux only; elsewhere a reader holds its buffer while it
// waits.
func hasInput(uintptr) (bool, error) { return true, nil }
