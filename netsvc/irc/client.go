package irc

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

// registrationTime is how long a client has for NICK and USER, from the connection on.
const registrationTime = time.Minute

// client is a session of IRC. The holder of its read lock owns it, but for what is said otherwise.
type client struct {
	*netsvc.RoomsSession
	server *Server

	nick       wire.Name         // written under Server.mu; empty: none yet
	realName   string            // written under Server.mu
	away       string            // written under Server.mu; empty: it is not away
	seen       Caps              // caps.Enabled, for other goroutines: written under Server.mu
	watched    map[string]string // by folded nick, as the client wrote them: guarded by Server.mu
	writers    []writer          // who wrote to it in private last, the newest at the end: guarded by Server.mu
	spoke      atomic.Int64      // when it last said something, in seconds since 1970; 0: not yet
	user       string            // its user name, which nobody is shown
	wanted     string            // the folded nick that it asked for first
	password   string            // of PASS; of a registered client the device word
	caps       Negotiation
	registered bool        // written under Server.mu
	silent     bool        // the command at hand gets no numerics
	quitting   bool        // it has sent QUIT, or has ended
	secure     bool        // behind TLS
	wait       bool        // the command at hand may wait
	paid       bool        // the command at hand has been charged, and has to wait
	done       int         // targets of the command at hand that are done, if it has to wait
	label      string      // of the line at hand, while nothing has answered it; empty: none
	long       *longAnswer // to the command at hand, if parts of it are sent; nil: none
	batches    int         // references given
	deadline   *time.Timer
	out        []byte // the answers to the line at hand
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
	Batches    int         `json:"batches,omitempty"`
	Long       *longAnswer `json:"long,omitempty"`
	Watched    []string    `json:"watched,omitempty"`
	Writers    []writer    `json:"writers,omitempty"`
}

// State returns what restore needs in another process.
func (c *client) State() []byte {
	b, err := json.Marshal(state{
		Nick: c.nick, RealName: c.realName, Away: c.away, User: c.user, Wanted: c.wanted, Password: c.password,
		Caps: c.caps, Registered: c.registered, Done: c.done, Batches: c.batches, Long: c.long,
		Writers: c.server.writersOf(c), Watched: c.server.watchedBy(c),
	})
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
	c.realName, c.away, c.user, c.wanted, c.password = st.RealName, st.Away, st.User, st.Wanted, st.Password
	c.caps, c.registered, c.done, c.batches, c.long = st.Caps, st.Registered, st.Done, st.Batches, st.Long
	c.seen, c.writers = c.caps.Enabled, st.Writers
	c.server.watch(c, st.Watched)
	if !c.registered {
		c.startDeadline()
	}
	return nil
}

// startDeadline ends the session if it is not registered in time.
func (c *client) startDeadline() {
	c.deadline = c.EndAt(c.Since().Add(registrationTime), netsvc.EndTimeout)
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
	c.out, c.wait = c.out[:0], wait
	defer func() { c.out = nil }() // an idle client has no buffer
	if !c.registered && wire.DetectProtocol(raw, over > 0) != "" {
		c.End(netsvc.EndLeft)
		return true
	}
	if over > 0 {
		if !c.pay(line) {
			return false
		}
		c.reply(errInputTooLong)
		c.paid = false
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
	c.done, c.paid, c.long = 0, false, nil
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
	if c.deadline != nil {
		c.deadline.Stop()
	}
	c.server.release(c)
	c.server.unwatch(c)
	if c.registered && !c.Suspended() { // otherwise another process may have the watchers
		c.server.tellWatchers(c.nick, false)
	}
}
