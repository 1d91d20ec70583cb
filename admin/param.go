package admin

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/admin/value"
	"roomd/netsvc"
	"roomd/store"
)

// param is an argument of a command, or the value of a flag: its name in the usage, its
// completion and its parser.
type param struct {
	// name is one or several kinds of words, divided by |. A kind in lower case is a literal
	// word.
	name      string
	optional  bool
	variadic  bool   // all following words
	otherwise string // the default of a flag, as an operator would type it; empty: none
	// complete returns the possible words beside the literal ones; args are the arguments
	// before it. nil: there is no completion.
	complete func(s *Server, args []string) []string
	// parse reads a word into the call, or returns a usage error; flag is the name of the
	// flag, or "". nil: the command takes any text.
	parse func(c *call, flag, word string) error
}

// usage returns the parameter as usages show it: ROOM, [ROOM], TEXT...
func (p param) usage() string {
	text := p.name
	if p.variadic {
		text += "..."
	}
	if p.optional {
		text = "[" + text + "]"
	}
	return text
}

// asOptional returns the parameter as one that can be omitted.
func (p param) asOptional() param {
	p.optional = true
	return p
}

// candidates returns the words that can stand for the parameter now.
func (p param) candidates(s *Server, args []string) (all []string) {
	for kind := range strings.SplitSeq(p.name, "|") {
		if kind == strings.ToLower(kind) {
			all = append(all, kind)
		}
	}
	if p.complete != nil {
		all = append(all, p.complete(s, args)...)
	}
	return all
}

// The arguments of commands. For a command whose first argument is a room, the audit has that
// room.
var (
	roomArg     = param{name: "ROOM", complete: openRooms, parse: parseRoom}
	roomNameArg = param{name: "ROOM", complete: openRooms} // the command itself looks the room up
	newRoomArg  = param{name: "ROOM"}
	unboundArg  = param{name: "ROOM", complete: unboundRooms, parse: parseRoom}
	trashedArg  = param{name: "ROOM|#ID", complete: trashedRooms, parse: parseTrashed}
	memberArg   = param{name: "NICK|ADDR|#ID", complete: nicksAndAddrs}
	addrArg     = param{name: "ADDR", complete: addrs}
	banArg      = param{name: "#ID", complete: banIDs, parse: parseBan}
	portArg     = param{name: "N", complete: freePorts, parse: parsePort}
	textArg     = param{name: "TEXT", variadic: true}
)

// The values of flags.
var (
	textValue   = param{name: "TEXT"}
	numberValue = param{name: "N", parse: parseNumber(value.Numbers{Least: 1, Most: value.Unlimited})}
	timeValue   = param{name: "TIME", parse: parseTime(value.Times{Least: time.Millisecond, Most: value.Forever})}
	sinceValue  = param{name: "WHEN", parse: parseSince}
)

// bind parses the flags and the arguments of the command, flags first.
func (c *call) bind() error {
	c.numbers, c.times = make(map[string]int), make(map[string]time.Duration)
	var err error
	for _, f := range c.cmd.flags {
		if v := cmp.Or(c.flags[f.name], f.arg.otherwise); err == nil && f.arg.parse != nil && (v != "" || c.has(f.name)) {
			err = f.arg.parse(c, f.name, v)
		}
	}
	for i, p := range c.cmd.args {
		if err == nil && p.parse != nil && i < len(c.args) {
			err = p.parse(c, "", c.args[i])
		}
	}
	return err
}

func parseRoom(c *call, _, word string) (err error) {
	c.target, err = c.Service.Room(word)
	return err
}

func parseTrashed(c *call, _, word string) (err error) {
	c.trashed, err = c.Service.Trashed(word)
	return err
}

func parseBan(c *call, _, word string) (err error) {
	if c.banID, err = strconv.ParseUint(strings.TrimPrefix(word, "#"), 10, 64); err != nil {
		return refuse("usage", "%q is not the ID of a ban; bans lists them", word)
	}
	return nil
}

func parsePort(c *call, _, word string) error {
	n, err := value.ParseNumber(word, value.Ports)
	if err != nil {
		return refuse("usage", "%q is not a port; write %v", word, value.Ports)
	}
	c.port = int(n)
	return nil
}

// oneOf is one of a few words, divided by |, in any case.
func oneOf(words string) param {
	return param{name: words, parse: func(_ *call, _, word string) error {
		if !slices.Contains(strings.Split(words, "|"), strings.ToLower(word)) {
			return refuse("usage", "%q is none of %s", word, strings.ReplaceAll(words, "|", ", "))
		}
		return nil
	}}
}

// parseNumber parses a whole number in a range.
func parseNumber(in value.Numbers) func(c *call, flag, word string) error {
	return func(c *call, flag, word string) error {
		n, err := value.ParseNumber(word, in)
		if err != nil {
			return refuse("usage", "%s: %v", dashed(flag), err)
		}
		c.numbers[flag] = int(n)
		return nil
	}
}

// parseTime parses a duration in a range.
func parseTime(in value.Times) func(c *call, flag, word string) error {
	return func(c *call, flag, word string) (err error) {
		if c.times[flag], err = value.ParseTime(word, in); err != nil {
			return refuse("usage", "--%s: %v", flag, err)
		}
		return nil
	}
}

// parseSince parses a sequence number or a duration.
func parseSince(c *call, flag, word string) error {
	seq, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return timeValue.parse(c, flag, word)
	}
	c.afterSeq = seq
	return nil
}

// arg returns the first argument, or "" if it was omitted.
func (c *call) arg() string {
	if len(c.args) == 0 {
		return ""
	}
	return c.args[0]
}

// sinceTime returns the time that --since names; zero: the flag is not given.
func (c *call) sinceTime() time.Time {
	if d := c.times["since"]; d > 0 {
		return time.Now().Add(-d)
	}
	return time.Time{}
}

// has reports whether a flag is given.
func (c *call) has(flag string) bool {
	_, given := c.flags[flag]
	return given
}

func openRooms(s *Server, _ []string) []string {
	return mapSlice(s.Service.List(), func(r netsvc.RoomInfo) string { return r.Name })
}

func unboundRooms(s *Server, _ []string) []string {
	return mapSlice(s.Service.Ports().Unbound, func(w netsvc.UnboundRoom) string { return w.Room })
}

func trashedRooms(s *Server, _ []string) []string {
	trash, _ := s.Service.Trash() // without the trash there is no completion
	return mapSlice(trash, func(t netsvc.Trashed) string { return t.Name })
}

func nicksAndAddrs(s *Server, args []string) []string {
	members, _ := s.Service.Members("")
	return append(addrs(s, args), mapSlice(members, func(m netsvc.MemberInfo) string { return m.Nick })...)
}

// mutedToo completes like nicksAndAddrs, and also the nicks of muted members that have left.
func mutedToo(s *Server, args []string) []string {
	mutes := slices.DeleteFunc(s.Service.Bans(), func(b store.Ban) bool { return !b.Mute })
	return append(nicksAndAddrs(s, args), mapSlice(mutes, func(b store.Ban) string { return b.Nick })...)
}

func addrs(s *Server, _ []string) []string {
	members, _ := s.Service.Members("")
	return mapSlice(members, func(m netsvc.MemberInfo) string {
		at, _ := netip.ParseAddrPort(m.Remote) // the server wrote it, so that it is valid
		return at.Addr().String()
	})
}

func banIDs(s *Server, _ []string) []string {
	return mapSlice(s.Service.Bans(), func(b store.Ban) string { return fmt.Sprint(b.ID) })
}

func freePorts(s *Server, _ []string) []string {
	return mapSlice(s.Service.Ports().Next, strconv.Itoa)
}
