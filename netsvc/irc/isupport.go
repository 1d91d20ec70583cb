package irc

import (
	"strconv"
	"strings"
	"sync/atomic"

	"roomd/netsvc/wire"
)

// Bounds that clients learn from 005.
const (
	maxMessageTargets = 4   // of one PRIVMSG or NOTICE
	maxMonitor        = 100 // nicks that a client watches
	maxTopic          = 390 // bytes of a topic, and of the words of a KICK, an AWAY or a PART
	maxRealName       = 128 // bytes
)

// Support is what 005 tells a client of the server
// (https://modern.ircdocs.horse/#rplisupport-parameters).
type Support struct {
	Network   string
	LineBytes int // of the longest line that a room takes
	Rooms     int // that a client may be in; 0: not said
}

// maxTokens is how many tokens a line of 005 has beside the nick and the text.
const maxTokens = maxParams - 2

// tokens returns the tokens, which are the same until the settings change. They must not be changed.
func (s *Support) tokens() []string {
	k := newestTokens.Load()
	if k == nil || k.of != *s {
		k = &supportTokens{*s, s.makeTokens()}
		newestTokens.Store(k)
	}
	return k.tokens
}

// supportTokens are the tokens of a Support.
type supportTokens struct {
	of     Support
	tokens []string
}

// newestTokens is what tokens has returned last: there is one server, but in tests.
var newestTokens atomic.Pointer[supportTokens]

// makeTokens makes the tokens. Nobody has a status in a room: PREFIX is what clients expect. Modes
// are shown, and only the operator changes them.
func (s *Support) makeTokens() []string {
	words := strconv.Itoa(min(maxTopic, s.LineBytes))
	n := strconv.Itoa
	tokens := []string{
		"CASEMAPPING=ascii", "UTF8MAPPING=rfc8265", "UTF8ONLY",
		"CHANTYPES=" + string(chanType), "CHANNELLEN=" + n(1+wire.MaxName), "NICKLEN=" + n(wire.MaxName), "NAMELEN=" + n(maxRealName),
		"TOPICLEN=" + words, "KICKLEN=" + words, "AWAYLEN=" + words, "HOSTLEN=" + n(MaxHost),
		"PREFIX=(o)@", "CHANMODES=b,k,l,mnt", "MODES=1",
		"TARGMAX=JOIN:,KICK:1,LIST:,NAMES:,NOTICE:" + n(maxMessageTargets) + ",PART:,PRIVMSG:" + n(maxMessageTargets) + ",WHOIS:1",
		"CLIENTTAGDENY=*,-roomd/id", "CHATHISTORY=" + n(maxHistory), "MSGREFTYPES=msgid,timestamp", "MONITOR=" + n(maxMonitor),
		"ELIST=MU", "SAFELIST", "WHOX",
	}
	if s.Rooms > 0 {
		tokens = append(tokens, "CHANLIMIT="+string(chanType)+":"+n(s.Rooms))
	}
	if s.Network != "" {
		tokens = append(tokens, "NETWORK="+escapeToken(s.Network))
	}
	return tokens
}

// append appends the lines of 005 for a client.
func (s *Support) append(b []byte, host, client string) []byte {
	line, size := make([]string, 0, maxTokens), 0
	fits := maxInside - len(": 005   :") - len(host) - len(client) - len(rplISupport.Text())
	for _, t := range s.tokens() {
		if len(line) == maxTokens || len(line) > 0 && size+len(t) > fits {
			b = appendNumeric(b, host, client, rplISupport, line...)
			line, size = line[:0], 0
		}
		line, size = append(line, t), size+len(t)+len(" ")
	}
	return appendNumeric(b, host, client, rplISupport, line...)
}

// escapeToken escapes the value of a token: a space, = and \ as \x and two digits.
func escapeToken(s string) string {
	return strings.NewReplacer(`\`, `\x5C`, " ", `\x20`, "=", `\x3D`).Replace(s)
}
