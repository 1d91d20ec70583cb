package client

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// Codes of an Error by the server (docs/protocol.md has all) that a program may have to
// tell apart.
const (
	BadRequest   = "bad-request"
	BadName      = "bad-name"
	Exists       = "exists"  // the name of a room or a member is taken
	NoRoom       = "no-room" // of that name
	Denied       = "denied"  // a wrong password, a ban, a mute, a read-only room
	Busy         = "busy"
	ShuttingDown = "shutting-down"
	Internal     = "internal"

	// Kicked is the code by which an operator has ended the connection. A program that a
	// person uses does not go back by itself: Room.Close.
	Kicked = "kicked"
)

// Codes of an Error by this package.
const (
	NotMaster    = "not-master"    // it is the port of a room, and was said to be the master port
	NeedsTLS     = "tls"           // the port speaks TLS, and Options.TLS is not set
	WrongRoom    = "wrong-room"    // the port is that of another room
	WrongHistory = "wrong-history" // see From.Strict
)

// Error is a refusal by the server: a stable code, such as NoRoom, and a
// sentence for people. The codes are in docs/protocol.md.
type Error struct {
	Code, Text string

	final bool // it would be the same another time
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Text }

// closedByServer is the last line of a server that closed the connection.
type closedByServer string

func (d closedByServer) Error() string { return string(d) }

const errServerClosed = closedByServer("the server closed the connection")

// IsTemporary reports whether what Dial or Join failed of may pass: the server is
// being started, cannot be reached, is full, or has no port for the room at the
// moment. A name that is not there, or a wrong password, stays what it is.
func IsTemporary(err error) bool {
	var refusal *Error
	var line closedByServer
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &refusal):
		return !refusal.final && (refusal.Code == Busy || refusal.Code == ShuttingDown || refusal.Code == Internal)
	case errors.As(err, &line):
		return true
	}
	for _, e := range []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.ENETUNREACH, syscall.EHOSTUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.As(err, &network) && network.Timeout()
}
