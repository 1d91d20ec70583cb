package wire

import "fmt"

// The codes of ERR replies and of errors in JSON. Their meanings never change.
const (
	CodeBadRequest   = "bad-request"
	CodeBadName      = "bad-name"
	CodeExists       = "exists"
	CodeNoRoom       = "no-room"
	CodeNoMember     = "no-member" // in a room only
	CodeFull         = "full"
	CodeNoPort       = "no-port"
	CodeDenied       = "denied"
	CodeTooLong      = "too-long"
	CodeBusy         = "busy"
	CodeShuttingDown = "shutting-down"
	CodeInternal     = "internal"
)

// Error is a refusal as the peer gets it: a stable code, and a sentence for people, which is
// one line and safe to print.
type Error struct{ Code, Text string }

// Error returns the sentence alone.
func (e *Error) Error() string { return e.Text }

// Errorf makes an Error. Its arguments must be clean.
func Errorf(code, format string, args ...any) *Error {
	return &Error{code, fmt.Sprintf(format, args...)}
}
