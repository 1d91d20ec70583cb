package irc

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

// registrationTime is how long a client has for NICK and USER, from the connection on.
const registrationTime = time.Minute

// client is a session of IRC. The holder of its read lock owns it, but for what is said otherwise. There
// are very many that do nothing: what few of them need is behind pointers.
type client struct {
	*netsvc.RoomsSession
	*request // nil: no line is at hand
	server   *Server

	nick       wire.Name     // written under Server.mu; empty: none yet
	realName   string        // written under Server.mu
	user       string        // its user name, which nobody is shown
	claims     *claims       // nil: none
	doings     *doings       // guarded by Server.mu; nil: none
	spoke      atomic.Uint32 // when it last said something, in seconds since 1970; 0: not yet
	batches    uint32        // references given
	caps       Negotiation   // written under Server.mu
	registered bool          // written under Server.mu
	quitting   bool          // it has sent QUIT, or has ended
	secure     bool          // behind TLS
}

// claims are what a client has said of itself before it was registered, and is known by later.
type claims struct {
	wanted   string // the folded nick that it asked for first; empty: the one that it has
	password string // of PASS; of a registered client the device word
	deadline *time.Timer
}

// doings are what few clients do. Server.mu guards them.
type doings struct {
	away    string            // empty: it is not away
	watched map[string]string // by folded nick, as the client wrote them
	writers []writer          // who wrote to it in private last, the newest at the end
}

// request is the line at hand. An idle client has none.
type request struct {
	out    []byte      // the answers
	label  string      // while nothing has answered it; empty: none
	long   *longAnswer // if parts of it are sent; nil: none
	done   int         // targets that are done, if it has to wait
	wait   bool        // it may wait
	paid   bool        // it has been charged, and has to wait
	silent bool        // it gets no numerics
}

// requests are free ones, each with a buffer of at most keptAnswers bytes.
var requests = sync.Pool{New: func() any { return new(request) }}

const keptAnswers = 8 << 10

// free makes a request whose line is handled free for others.
func (q *request) free() {
	if cap(q.out) > keptAnswers {
		q.out = nil
	}
	*q = request{out: q.out[:0]}
	requests.Put(q)
}

// claimed returns the claims of a client that is to have some.
func (c *client) claimed() *claims {
	if c.claims == nil {
		c.claims = new(claims)
	}
	return c.claims
}

// doingsOf returns what a client does, to change it. mu is held.
func (s *Server) doingsOf(c *client) *doings {
	if c.doings == nil {
		c.doings = new(doings)
	}
	return c.doings
}

// watchedLocked returns the nicks that a client watches. Server.mu is held.
func (c *client) watchedLocked() map[string]string {
	if c.doings == nil {
		return nil
	}
	return c.doings.watched
}

// awayLocked returns the words of a client that is away. Server.mu is held.
func (c *client) awayLocked() string {
	if c.doings == nil {
		return ""
	}
	return c.doings.away
}

// awayOf returns the words of a client that is away.
func (s *Server) awayOf(c *client) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.awayLocked()
}

// wanted returns the folded nick that the client asked for first.
func (c *client) wanted() string {
	if c.claims != nil && c.claims.wanted != "" {
		return c.claims.wanted
	}
	return c.nick.Key
}

// device returns what PASS has given: of a registered client the device word.
func (c *client) device() string {
	if c.claims == nil {
		return ""
	}
	return c.claims.password
}

// sharing returns s with the bytes of another string that is the same, or a copy: a part of a line keeps
// the whole line in memory.
func sharing(s string, with ...string) string {
	for _, o := range with {
		if o == s {
			return o
		}
	}
	return strings.Clone(s)
}

// state is what another process needs of a client.
type state struct {
	Nick       wire.Name   `json:"nick"`
	RealName   string      `json:"real_name,omitempty"`
	Away       string      `json:"away,omitempty"`
	User       string      `json:"user,omitempty"`
	Wanted     string      `json:"wanted,omitempty"`
	Password   string      `json:"password,omitempty"`
	Caps       Negotiation `json:"caps"`
	Registered bool        `json:"registered,omitempty"`
	Done       int         `json:"done,omitempty"`
	Batches    uint32      `json:"batches,omitempty"`
	Long       *longAnswer `json:"long,omitempty"`
	Watched    []string    `json:"watched,omitempty"`
	Writers    []writer    `json:"writers,omitempty"`
}

// State returns what restore needs in another process.
func (c *client) State() []byte {
	st := state{
		Nick: c.nick, RealName: c.realName, Away: c.server.awayOf(c), User: c.user, Wanted: c.wanted(), Password: c.device(),
		Caps: c.caps, Registered: c.registered, Batches: c.batches,
		Writers: c.server.writersOf(c), Watched: c.server.watchedBy(c),
	}
	if c.request != nil { // it goes on in the other process
		st.Done, st.Long = c.done, c.long
	}
	b, err := json.Marshal(st)
	if err != nil {
		panic(err) // it has only strings and numbers
	}
	return b
}

func (c *client) restore(b []byte) error {
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return err
	}
	if st.Nick.Key != "" {
		if !c.server.claim(c, st.Nick) {
			return errors.New("two sessions have the nick " + st.Nick.Shown)
		}
		c.server.settle(c, st.Nick)
	}
	c.realName, c.user, c.caps, c.registered, c.batches = st.RealName, st.User, st.Caps, st.Registered, st.Batches
	if st.Wanted == st.Nick.Key {
		st.Wanted = ""
	}
	if st.Wanted != "" || st.Password != "" {
		c.claims = &claims{wanted: st.Wanted, password: st.Password}
	}
	if st.Away != "" || st.Writers != nil {
		c.doings = &doings{away: st.Away, writers: st.Writers}
	}
	if st.Done > 0 || st.Long != nil {
		c.request = &request{done: st.Done, long: st.Long}
	}
	c.server.watch(c, st.Watched)
	if !c.registered {
		c.startDeadline()
	}
	return nil
}

// startDeadline ends the session if it is not registered in time.
func (c *client) startDeadline() {
	c.claimed().deadline = c.EndAt(c.Since().Add(registrationTime), netsvc.EndTimeout)
}

// Nick is the nick for the operator's lists.
func (c *client) Nick() string {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.nick.Shown
}

// target is the first parameter of numerics.
func (c *client) target() string {
	if c.nick.Shown == "" {
		return "*"
	}
	return c.nick.Shown
}

// prefix is the source of what the client does.
func (c *client) prefix() string { return prefixOf(c.nick.Shown, c.server.host()) }

func prefixOf(nick, host string) string { return nick + "!" + userName + "@" + host }

// reply appends a numeric with its constant text to the answers.
func (c *client) reply(n Numeric, params ...string) { c.replyText(n, n.Text(), params...) }

// replyText is reply with another text.
func (c *client) replyText(n Numeric, text string, params ...string) {
	if c.silent {
		return
	}
	c.out = appendReply(c.out, c.server.host(), c.target(), n, text, params...)
}

// send appends a line from somebody to the answers.
func (c *client) send(source, command string, params ...string) {
	c.out = appendLine(c.out, source, command, params...)
}

// fail appends a standard reply.
func (c *client) fail(f *Failure) {
	c.out = f.append(c.out, c.server.host(), c.target(), c.caps.Enabled)
}

// has reports whether the client has the capabilities.
func (c *client) has(caps Caps) bool { return c.caps.Enabled.Has(caps) }

// command is how a command is handled.
type command struct {
	// do handles the message. It returns false if it has to wait, and may not or must not: then it
	// is called again, and has to do the rest only.
	do     func(c *client, m *Message) bool
	params int     // that it must have
	early  bool    // before registration, too
	cost   float64 // 1 is a line's
}

const (
	cheap = 0.2 // the cost of a command that changes nothing
	line  = 1.0
)

// commands has all commands. It is filled by init, because some of them use it.
var commands map[string]command

func init() {
	commands = make(map[string]command)
	for _, group := range []map[string]command{registering, roomCommands, modeCommands, listCommands, infoCommands, talking, historyCommands, peopleCommands, presenceCommands} {
		for name, k := range group {
			commands[name] = k
		}
	}
}

// Line handles a line of the client.
func (c *client) Line(raw []byte, over int, wait bool) bool {
	if c.request == nil {
		c.request = requests.Get().(*request)
	}
	c.out, c.wait = c.out[:0], wait
	if !c.handle(raw, over) {
		c.out = nil // the rest may have to wait for long
		return false
	}
	c.request.free()
	c.request = nil
	return true
}

// handle is Line.
func (c *client) handle(raw []byte, over int) bool {
	if !c.registered && wire.DetectProtocol(raw, over > 0) != "" {
		c.End(netsvc.EndLeft)
		return true
	}
	if over > 0 {
		if !c.pay(line) {
			return false
		}
		c.reply(errInputTooLong)
		c.answer("")
		return true
	}
	m, err := ParseMessage(raw)
	var wrong *ParseError
	k := command{cost: line}
	if err == nil {
		k = commands[m.Command]
	}
	if !c.pay(max(k.cost, cheap)) {
		return false
	}
	c.noteLabel(&m)
	switch {
	case errors.As(err, &wrong):
		if wrong.Numeric != 0 {
			c.replyText(wrong.Numeric, wrong.Text)
		}
	case !c.registered && !k.early:
		c.reply(errNotRegistered)
	case !m.IsUTF8():
		c.fail(notUTF8(m.Command))
	case k.do == nil:
		c.reply(errUnknownCommand, m.Command)
	case len(m.Params) < k.params || k.params > 0 && m.Params[k.params-1] == "" && k.params < 2:
		c.reply(errNeedMoreParams, m.Command)
	case !k.do(c, &m):
		c.answer("") // about targets that are done
		return false
	}
	c.answer(c.takeLabel())
	return true
}

// pay charges a command, once. It returns false if it has to wait.
func (c *client) pay(cost float64) bool {
	c.paid = c.paid || c.AwaitTurn(cost, c.wait)
	return c.paid
}

// answer sends the answers to the line at hand, with the label of its request.
func (c *client) answer(label string) {
	switch {
	case label == "" || c.quitting:
		if len(c.out) > 0 {
			c.Answer(bytes.Clone(c.out))
		}
	case c.long != nil && c.long.Ref != "":
		c.Answer(appendLine(appendInBatch(nil, c.long.Ref, c.out), c.server.host(), "BATCH", "-"+c.long.Ref))
	default:
		c.Answer(appendLabeled(nil, c.server.host(), label, c.batchRef(), c.out))
	}
}

// answerPart sends what there is of a long answer. The rest follows.
func (c *client) answerPart() {
	if c.label == "" {
		c.answer("")
	} else {
		var b []byte
		if c.long.Ref == "" {
			c.long.Ref = c.batchRef()
			b = appendLine(appendTag(nil, "label", c.label), c.server.host(), "BATCH", "+"+c.long.Ref, "labeled-response")
		}
		c.Answer(appendInBatch(b, c.long.Ref, c.out))
	}
	c.out = c.out[:0]
}

// Farewell tells the client that its member in a room has ended.
func (c *client) Farewell(at netsvc.Place, why netsvc.Cause) []byte {
	room := string(chanType) + at.Name
	reason := ""
	switch why {
	case netsvc.CauseVanished, netsvc.CauseDeadPeer, netsvc.CauseStopping:
		return nil // after its own PART a client would not enter the room when it connects again
	case netsvc.CauseLeft:
		if c.ending() {
			return nil
		}
		return appendLine(nil, prefixOf(at.To, c.server.host()), "PART", room)
	case netsvc.CauseDeleted:
		reason = "chat room being deleted"
	case netsvc.CauseLagged:
		reason = "you are too far behind: join again"
	case netsvc.CauseHistory:
		reason = "the history cannot be read"
	default:
		reason = "the operator has removed you"
	}
	return appendLine(nil, c.server.host(), "KICK", room, at.To, reason)
}

// LastWords is the ERROR line.
func (c *client) LastWords(why netsvc.EndReason) []byte {
	text := "the connection is closed"
	switch why {
	case netsvc.EndStopping:
		text = "the server is stopping"
	case netsvc.EndUpgrade:
		text = "the server is being upgraded"
	case netsvc.EndBanned:
		text = "you are banned from this server"
	case netsvc.EndKicked:
		text = "the operator has closed your connection"
	case netsvc.EndEvicted:
		text = "very many connections wait to register; try again"
	case netsvc.EndTimeout:
		text = "you have not registered in time"
	}
	c.server.release(c) // a client that has read it may come back with its nick
	return appendLine(nil, "", "ERROR", text)
}

// Closed gives the nick back.
func (c *client) Closed() {
	if k := c.claims; k != nil && k.deadline != nil {
		k.deadline.Stop()
	}
	c.server.release(c)
	c.server.unwatch(c)
	if c.registered && !c.Suspended() { // otherwise another process may have the watchers
		c.server.tellWatchers(c.nick, false)
	}
}
