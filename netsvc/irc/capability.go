package irc

// Caps are capabilities of a client.
type Caps uint32

// capStandardReplies and the others are named as in https://ircv3.net/registry.
const (
	capStandardReplies Caps = 1 << iota
)

// Has reports whether all of them are there.
func (c Caps) Has(caps Caps) bool { return c&caps == caps }
