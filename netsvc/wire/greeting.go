package wire

// What a port says in text before a client can ask for JSON, and so by words alone: a
// client tells a room, its password and TLS apart by them, and they do not change
// (docs/protocol.md). In a greeting the room's name and how many are there come before
// YouAre, and the nick behind it; each of the others is the beginning of a line.
const (
	YouAre      = " here, you are "
	AskPassword = "this room has a password"
	SpeaksTLS   = "this port speaks TLS"
)

// Notice is a notice, as text, where there are no events.
func Notice(text string) string { return "* " + text + "\n" }

// NotSent begins the sentence that answers a line which is not in the room. It says why
// to people; programs go by the code.
const NotSent = "not sent: "
