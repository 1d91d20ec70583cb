package irc

// Failure is an error that a program understands: FAIL of
// https://ircv3.net/specs/extensions/standard-replies.
type Failure struct {
	Command string
	Code    string
	Context []string // parameters behind the code
	Text    string
}

// Error returns the sentence.
func (f *Failure) Error() string { return f.Text }

// The codes of a Failure, as the specifications have them.
const (
	codeInvalidUTF8       = "INVALID_UTF8"
	codeInvalidParams     = "INVALID_PARAMS"
	codeInvalidRealName   = "INVALID_REALNAME"
	codeInvalidTarget     = "INVALID_TARGET"
	codeInvalidMsgRefType = "INVALID_MSGREFTYPE"
	codeMessageError      = "MESSAGE_ERROR"
)

// append appends the failure for a client: as FAIL if it has asked for standard-replies, else as
// a NOTICE of the text.
func (f *Failure) append(b []byte, host, client string, caps Caps) []byte {
	if !caps.Has(capStandardReplies) {
		return appendLine(b, host, "NOTICE", client, f.Command+": "+f.Text)
	}
	var all [maxParams]string
	all[0], all[1] = f.Command, f.Code
	k := 2 + copy(all[2:maxParams-1], f.Context)
	all[k] = f.Text
	return appendLine(b, host, "FAIL", all[:k+1]...)
}

// notUTF8 is the failure of a command whose message is not UTF-8.
func notUTF8(command string) *Failure {
	return &Failure{command, codeInvalidUTF8, nil, "The line is not UTF-8: set your client to UTF-8. Nothing of it was sent"}
}
