package irc

import (
	"strconv"
	"strings"
	"time"
)

// MsgID returns the msgid of a line: the room's ID in base 36, and the line's sequence number
// (https://ircv3.net/specs/extensions/message-ids). It is the same wherever the line is seen.
func MsgID(room, seq uint64) string { return string(appendMsgID(nil, room, seq)) }

func appendMsgID(b []byte, room, seq uint64) []byte {
	b = append(strconv.AppendUint(b, room, 36), '-')
	return strconv.AppendUint(b, seq, 10)
}

// ParseMsgID returns what MsgID was given. ok is false for any other text.
func ParseMsgID(s string) (room, seq uint64, ok bool) {
	first, second, _ := strings.Cut(s, "-")
	room, err := strconv.ParseUint(first, 36, 64)
	if err != nil {
		return 0, 0, false
	}
	if seq, err = strconv.ParseUint(second, 10, 64); err != nil || MsgID(room, seq) != s {
		return 0, 0, false
	}
	return room, seq, true
}

// maxHistory is how many lines a request of CHATHISTORY gets at most.
const maxHistory = 100

// selector is a place in the history of a room: before or after a line or a time.
type selector struct {
	any       bool      // *: no line and no time
	room, seq uint64    // of a msgid; seq 0: none
	time      time.Time // of a timestamp
}

// historyRequest is a request of CHATHISTORY (https://ircv3.net/specs/extensions/chathistory).
type historyRequest struct {
	command  string // LATEST, BEFORE, AFTER, BETWEEN, AROUND or TARGETS
	target   string // a room or a nick; of TARGETS ""
	from, to selector
	limit    int // 1 to maxHistory
}

// historyForms has the number of selectors of each subcommand.
var historyForms = map[string]int{"LATEST": 1, "BEFORE": 1, "AFTER": 1, "AROUND": 1, "BETWEEN": 2, "TARGETS": 2}

// parseHistory parses the parameters of CHATHISTORY. A limit above maxHistory counts as that, as
// 005 says. The error is a *Failure, with the codes of the draft of 2022: INVALID_PARAMS also for
// an unknown subcommand and for missing parameters, which had codes of their own before.
func parseHistory(params []string) (historyRequest, error) {
	if len(params) == 0 {
		return historyRequest{}, historyFailure(codeInvalidParams, "Parameters are missing", "*")
	}
	r := historyRequest{command: upper(params[0])}
	n, ok := historyForms[r.command]
	params = params[1:]
	if !ok {
		return historyRequest{}, historyFailure(codeInvalidParams, "CHATHISTORY has no such subcommand", r.command)
	}
	want := n + 2 // target, selectors, limit
	if r.command == "TARGETS" {
		want--
	}
	switch {
	case len(params) < want:
		return historyRequest{}, historyFailure(codeInvalidParams, "Parameters are missing", r.command)
	case len(params) > want:
		return historyRequest{}, historyFailure(codeInvalidParams, "Too many parameters", r.command)
	}
	if r.command != "TARGETS" {
		r.target, params = params[0], params[1:]
	}
	var err error
	if r.from, err = r.parseSelector(params[0]); err != nil {
		return historyRequest{}, err
	}
	if n == 2 {
		if r.to, err = r.parseSelector(params[1]); err != nil {
			return historyRequest{}, err
		}
	}
	limit := params[len(params)-1]
	if r.limit, err = strconv.Atoi(limit); err != nil && !isNumber(limit) || r.limit < 1 {
		return historyRequest{}, historyFailure(codeInvalidParams, "The limit is a number from 1 to "+strconv.Itoa(maxHistory), r.command, limit)
	}
	r.limit = min(r.limit, maxHistory)
	return r, nil
}

// isNumber reports whether s has digits only.
func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func (r *historyRequest) parseSelector(s string) (selector, error) {
	kind, value, _ := strings.Cut(s, "=")
	switch {
	case s == "*" && r.command == "LATEST":
		return selector{any: true}, nil
	case kind == "timestamp":
		t, err := parseServerTime(value)
		if err != nil {
			return selector{}, historyFailure(codeInvalidParams, "A timestamp is like "+serverTime, r.command, s)
		}
		return selector{time: t}, nil
	case kind == "msgid" && r.command == "TARGETS":
		return selector{}, historyFailure(codeInvalidMsgRefType, "TARGETS takes timestamps only", r.command, "*", s)
	case kind == "msgid":
		room, seq, ok := ParseMsgID(value)
		if !ok || seq == 0 {
			return selector{}, historyFailure(codeInvalidParams, "No line of this server has that msgid", r.command, s)
		}
		return selector{room: room, seq: seq}, nil
	case strings.Contains(s, "="):
		return selector{}, historyFailure(codeInvalidMsgRefType, "Lines are selected by msgid= or timestamp=", r.command, r.target, s)
	}
	return selector{}, historyFailure(codeInvalidParams, "Lines are selected by msgid= or timestamp=", r.command, s)
}

// invalidTarget is the answer to a request about a room or a nick that the client cannot read.
func (r *historyRequest) invalidTarget() *Failure {
	return historyFailure(codeInvalidTarget, "You cannot read the history of that, or it does not exist", r.command, r.target)
}

// messageError is the answer to a request that failed in the server.
func (r *historyRequest) messageError() *Failure {
	return historyFailure(codeMessageError, "The history could not be read", r.command, r.target)
}

func historyFailure(code, text string, context ...string) *Failure {
	return &Failure{"CHATHISTORY", code, context, text}
}

// parseServerTime parses a time in UTC with any number of digits behind the second. As in ISO 8601
// a second may be the 60th: it is the next minute.
func parseServerTime(s string) (time.Time, error) {
	if i := strings.Index(s, ":60"); i == len("2006-01-02T15:04") {
		t, err := time.Parse("2006-01-02T15:04:05Z", s[:i]+":59"+s[i+len(":60"):])
		return t.Add(time.Second), err
	}
	return time.Parse("2006-01-02T15:04:05Z", s)
}

// serverTime is the form of a time in IRC: UTC with milliseconds
// (https://ircv3.net/specs/extensions/server-time).
const serverTime = "2006-01-02T15:04:05.000Z"

func appendServerTime(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, serverTime) }
