package irc

import (
	"math"
	"strconv"
	"strings"
)

// Caps are capabilities of a client.
type Caps uint32

// The capabilities, named as in https://ircv3.net/registry. UTF8ONLY is a token of 005.
const (
	capMessageTags Caps = 1 << iota
	capServerTime
	capBatch
	capEchoMessage
	capLabeledResponse // works with capBatch only: see labels
	capStandardReplies
	capChatHistory
	capEventPlayback
	capMultiPrefix
	capUserhostInNames
	capExtendedJoin
	capSetName
	capAwayNotify
	capNoImplicitNames
	capChannelRename
	capNotify
	capSASL // offered where there are accounts
)

// capabilities has the names of the capabilities, in the order of CAP LS, and the values that CAP
// LS 302 has.
var capabilities = [...]struct {
	of          Caps
	name, value string
}{
	{capAwayNotify, "away-notify", ""},
	{capBatch, "batch", ""},
	{capNotify, "cap-notify", ""},
	{capChannelRename, "draft/channel-rename", ""},
	{capChatHistory, "draft/chathistory", ""},
	{capEventPlayback, "draft/event-playback", ""},
	{capNoImplicitNames, "draft/no-implicit-names", ""},
	{capEchoMessage, "echo-message", ""},
	{capExtendedJoin, "extended-join", ""},
	{capLabeledResponse, "labeled-response", ""},
	{capMessageTags, "message-tags", ""},
	{capMultiPrefix, "multi-prefix", ""},
	{capSASL, "sasl", "PLAIN"},
	{capServerTime, "server-time", ""},
	{capSetName, "setname", ""},
	{capStandardReplies, "standard-replies", ""},
	{capUserhostInNames, "userhost-in-names", ""},
}

// offeredCaps are what a server without accounts offers.
const offeredCaps = capSASL - 1

// Has reports whether all of them are there.
func (c Caps) Has(caps Caps) bool { return c&caps == caps }

// labels reports whether answers carry the label of the request.
func (c Caps) labels() bool { return c.Has(capLabeledResponse | capBatch) }

// level returns the tags that a client with these capabilities gets. Message-tags means any tag.
func (c Caps) level() tagLevel {
	switch {
	case c.Has(capMessageTags):
		return allTags
	case c.Has(capServerTime):
		return timeTag
	}
	return noTags
}

// capNamed returns the capability with that name.
func capNamed(name string) (Caps, bool) {
	for _, c := range &capabilities {
		if c.name == name {
			return c.of, true
		}
	}
	return 0, false
}

// Negotiation is how far a client has got with CAP
// (https://ircv3.net/specs/extensions/capability-negotiation). Its fields may be kept and restored.
type Negotiation struct {
	Offered Caps
	Enabled Caps
	Version uint16 // of the protocol that the client speaks: that of CAP LS, the greatest; 0: none
	Open    bool   // the client has begun before it was registered: registration waits for CAP END
}

// capVersion is the first version with values, several lines and cap-notify.
const capVersion = 302

// answer handles a CAP with these parameters and appends the answer for a client. registered says
// that it has got 001.
func (n *Negotiation) answer(b []byte, host, client string, registered bool, params []string) []byte {
	if len(params) == 0 {
		return appendNumeric(b, host, client, errNeedMoreParams, "CAP")
	}
	begin := func() { n.Open = n.Open || !registered }
	switch command := upper(params[0]); command {
	case "LS":
		begin()
		version := 0
		if len(params) > 1 {
			version, _ = strconv.Atoi(params[1])
		}
		if n.Version = max(n.Version, uint16(min(max(version, 0), math.MaxUint16))); n.Version >= capVersion {
			n.Enabled |= n.Offered & capNotify
		}
		return appendCaps(b, host, client, command, n.Offered, version >= capVersion, version >= capVersion)
	case "LIST":
		return appendCaps(b, host, client, command, n.Enabled, false, n.Version >= capVersion)
	case "REQ":
		begin()
		return n.request(b, host, client, strings.Fields(strings.Join(params[1:], " ")))
	case "END":
		n.Open = false
		return b
	default:
		return appendNumeric(b, host, client, errInvalidCapCmd, params[0])
	}
}

// request enables and disables all of the named capabilities, or none.
func (n *Negotiation) request(b []byte, host, client string, names []string) []byte {
	enabled, answer := n.Enabled, "ACK"
	for _, name := range names {
		name, disable := strings.CutPrefix(name, "-")
		c, ok := capNamed(name)
		switch {
		case !ok || !n.Offered.Has(c), disable && c == capNotify && n.Version >= capVersion:
			answer = "NAK"
		case disable:
			enabled &^= c
		default:
			enabled |= c
		}
	}
	if answer == "ACK" {
		n.Enabled = enabled
	}
	l := capLines{b: b, host: host, client: client, command: answer, several: true}
	for _, name := range names {
		l.add(name)
	}
	return l.end()
}

// appendCaps appends a list of capabilities, in several lines if it must be and the client knows
// that.
func appendCaps(b []byte, host, client, command string, caps Caps, values, several bool) []byte {
	l := capLines{b: b, host: host, client: client, command: command, more: "* ", several: several}
	for _, c := range &capabilities {
		switch {
		case !caps.Has(c.of):
		case values && c.value != "":
			l.add(c.name + "=" + c.value)
		default:
			l.add(c.name)
		}
	}
	return l.end()
}

// capLines appends a list of names in lines of at most MaxLine bytes. A line that others follow has
// more before its names. Where several is not set the names behind the first line are left out.
type capLines struct {
	b                     []byte
	host, client, command string
	more                  string
	several               bool
	full                  bool   // nothing more is added
	names                 []byte // of the line that is next
}

func (l *capLines) add(name string) {
	fits := maxInside - len(": CAP   :") - len(l.host) - len(l.client) - len(l.command) - len(l.more)
	if len(l.names) > 0 && len(l.names)+len(" ")+len(name) > fits {
		if l.full = !l.several; !l.full {
			l.line(l.more)
		}
	}
	if l.full {
		return
	}
	if len(l.names) > 0 {
		l.names = append(l.names, ' ')
	}
	l.names = append(l.names, name...)
}

// line appends a line with the names so far.
func (l *capLines) line(more string) {
	start := len(l.b)
	l.b = append(append(append(l.b, ':'), l.host...), " CAP "...)
	l.b = append(append(append(l.b, l.client...), ' '), l.command...)
	l.b = endLine(append(append(append(append(l.b, ' '), more...), ':'), l.names...), start)
	l.names = l.names[:0]
}

func (l *capLines) end() []byte {
	l.line("")
	return l.b
}
