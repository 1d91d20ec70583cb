package wire

// Words that a port says before a client can ask for JSON: a client distinguishes a room, its
// password and TLS by them, and they never change (docs/protocol.md). A greeting has the
// room's name and the number of members before YouAre, and the nick after it. Each of the
// others begins a line.
const (
	YouAre      = " here, you are "
	AskPassword = "this room has a password"
	SpeaksTLS   = "this port speaks TLS"
)

// Notice is a notice as a line of text, for a connection that gets no events.
func Notice(text string) string { return "* " + text + "\n" }

// NotSent begins the text of an error that answers a line which is not in the room. The rest
// says why to people; programs read the code.
const NotSent = "not sent: "
