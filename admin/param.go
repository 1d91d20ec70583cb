package admin

import (
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

// param is an argument of a command, or the value of a flag: what the usage calls it,
// what completes it and how it is read.
type param struct {
	// name is kinds of words, divided by |. Those in lower case stand for themselves.
	name     string
	optional bool
	rest     bool // all words that follow
	// words are those that may stand for it now, beside those that stand for themselves;
	// args are the arguments before it. nil: nobody knows them.
	words func(s *Server, args []string) []string
	// take reads a word into the call, or says what is wrong with it; of a flag it gets
	// the name, too. nil: the command takes any text.
	take func(c *call, flag, word string) error
}

// usage is the parameter in a usage: ROOM, [ROOM], TEXT...
func (p param) usage() string {
	text := p.name
	if p.rest {
		text += "..."
	}
	if p.optional {
		text = "[" + text + "]"
	}
	return text
}

// maybe is the parameter where it may be left out.
func (p param) maybe() param {
	p.optional = true
	return p
}

// candidates are the words that may stand for it now.
func (p param) candidates(s *Server, args []string) (all []string) {
	for kind := range strings.SplitSeq(p.name, "|") {
		if kind == strings.ToLower(kind) {
			all = append(all, kind)
		}
	}
	if p.words != nil {
		all = append(all, p.words(s, args)...)
	}
	return all
}

// The arguments of commands. The audit has the room that comes first.
var (
	roomArg     = param{name: "ROOM", words: openRooms, take: takeRoom}
	roomNameArg = param{name: "ROOM", words: openRooms} // which the command looks up
	newRoomArg  = param{name: "ROOM"}
	unboundArg  = param{name: "ROOM", words: unboundRooms, take: takeRoom}
	trashedArg  = param{name: "ROOM|#ID", words: trashedRooms, take: takeTrashed}
	memberArg   = param{name: "NICK|ADDR|#ID", words: nicksAndAddrs}
	addrArg     = param{name: "ADDR", words: addrs}
	banArg      = param{name: "#ID", words: banIDs, take: takeBan}
	portArg     = param{name: "N", words: freePorts, take: takePort}
	textArg     = param{name: "TEXT", rest: true}
)

// The values of flags.
var (
	textValue   = param{name: "TEXT"}
	numberValue = param{name: "N", take: numberIn(value.Numbers{Least: 1, Most: value.Unlimited})}
	timeValue   = param{name: "TIME", take: timeIn(value.Times{Least: time.Millisecond, Most: value.Forever})}
	whenValue   = param{name: "WHEN", take: takeWhen}
)

// bind reads the flags and the arguments of the command as its row says: what is wrong
// with the line comes before what is not there.
func (c *call) bind() error {
	c.numbers, c.times = make(map[string]int), make(map[string]time.Duration)
	var err error
	for _, f := range c.cmd.flags {
		if v, given := c.flags[f.name]; err == nil && given && f.arg.take != nil {
			err = f.arg.take(c, f.name, v)
		}
	}
	for i, p := range c.cmd.args {
		if err == nil && p.take != nil && i < len(c.args) {
			err = p.take(c, "", c.args[i])
		}
	}
	return err
}

func takeRoom(c *call, _, word string) (err error) {
	c.target, err = c.Service.Room(word)
	return err
}

func takeTrashed(c *call, _, word string) (err error) {
	c.gone, err = c.Service.Trashed(word)
	return err
}

func takeBan(c *call, _, word string) (err error) {
	if c.ban, err = strconv.ParseUint(strings.TrimPrefix(word, "#"), 10, 64); err != nil {
		return refuse("usage", "%q is not the number of a ban; bans lists them", word)
	}
	return nil
}

func takePort(c *call, _, word string) error {
	n, err := value.ParseNumber(word, value.Ports)
	if err != nil {
		return refuse("usage", "%q is not a port; write %v", word, value.Ports)
	}
	c.port = int(n)
	return nil
}

// numberIn takes a whole number in a range.
func numberIn(in value.Numbers) func(c *call, flag, word string) error {
	return func(c *call, flag, word string) error {
		n, err := value.ParseNumber(word, in)
		if err != nil {
			return refuse("usage", "%s: %v", dashed(flag), err)
		}
		c.numbers[flag] = int(n)
		return nil
	}
}

// timeIn takes a time in a range.
func timeIn(in value.Times) func(c *call, flag, word string) error {
	return func(c *call, flag, word string) (err error) {
		if c.times[flag], err = value.ParseTime(word, in); err != nil {
			return refuse("usage", "--%s: %v", flag, err)
		}
		return nil
	}
}

// takeWhen reads a sequence number or a time.
func takeWhen(c *call, flag, word string) error {
	seq, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return timeValue.take(c, flag, word)
	}
	c.after = seq
	return nil
}

// arg is the first argument, which may be left out.
func (c *call) arg() string {
	if len(c.args) == 0 {
		return ""
	}
	return c.args[0]
}

// number is the value of a flag.
func (c *call) number(flag string, otherwise int) int {
	if n, given := c.numbers[flag]; given {
		return n
	}
	return otherwise
}

// since is when the time of --since began; zero: it is not given.
func (c *call) since() time.Time {
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
	return each(s.Service.List(), func(r netsvc.RoomInfo) string { return r.Name })
}

func unboundRooms(s *Server, _ []string) []string {
	return each(s.Service.Ports().Unbound, func(w netsvc.UnboundRoom) string { return w.Room })
}

func trashedRooms(s *Server, _ []string) []string {
	trash, _ := s.Service.Trash() // without it nothing is offered
	return each(trash, func(t netsvc.Trashed) string { return t.Name })
}

func nicksAndAddrs(s *Server, args []string) []string {
	members, _ := s.Service.Members("")
	return append(addrs(s, args), each(members, func(m netsvc.MemberInfo) string { return m.Nick })...)
}

// mutedToo are those of all members, and the nicks that are muted and may have gone.
func mutedToo(s *Server, args []string) []string {
	mutes := slices.DeleteFunc(s.Service.Bans(), func(b store.Ban) bool { return !b.Mute })
	return append(nicksAndAddrs(s, args), each(mutes, func(b store.Ban) string { return b.Nick })...)
}

func addrs(s *Server, _ []string) []string {
	members, _ := s.Service.Members("")
	return each(members, func(m netsvc.MemberInfo) string {
		at, _ := netip.ParseAddrPort(m.Remote) // the server has made it
		return at.Addr().String()
	})
}

func banIDs(s *Server, _ []string) []string {
	return each(s.Service.Bans(), func(b store.Ban) string { return fmt.Sprint(b.ID) })
}

func freePorts(s *Server, _ []string) []string {
	return each(s.Service.Ports().Next, strconv.Itoa)
}
