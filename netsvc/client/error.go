package client

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// Codes of an Error of the server that a program may have to distinguish. docs/protocol.md has
// all codes.
const (
	BadRequest   = "bad-request"
	BadName      = "bad-name"
	Exists       = "exists"  // the name of a room or a member is taken
	NoRoom       = "no-room" // there is no room of that name
	Denied       = "denied"  // a wrong password, a ban, a mute, a read-only room
	Busy         = "busy"
	ShuttingDown = "shutting-down"
	Internal     = "internal"

	// Kicked says that an operator has ended the connection. A program for a person should
	// not come back by itself: it calls Room.Close.
	Kicked = "kicked"
)

// Codes of an Error of this package.
const (
	NotMaster    = "not-master"    // the port is that of a room, not the master port
	NotRoomd     = "not-roomd"     // the server on the port speaks another protocol
	NeedsTLS     = "tls"           // the port speaks TLS, and Options.TLS is not set
	WrongRoom    = "wrong-room"    // the port is that of another room
	WrongHistory = "wrong-history" // see From.Strict
)

// Error is a refusal: a stable code, such as NoRoom, and a sentence for people.
type Error struct {
	Code, Text string

	final bool // another try would fail in the same way
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Text }

// closedByServer is the last line of a server before it closed the connection.
type closedByServer string

func (d closedByServer) Error() string { return string(d) }

const errServerClosed = closedByServer("the server closed the connection")

// IsTemporary reports whether an error of Dial or Join may be over at the next try: the
// server is starting, cannot be reached, is full, or has no port for the room at the moment.
// An unknown name or a wrong password is not temporary.
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
