package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"roomd/netsvc"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
)

// client is the session of a page. The holder of its read lock owns it, but for what is said otherwise.
type client struct {
	*netsvc.RoomsSession
	door   *Door
	socket *socket
	guest  bool // it has not taken a nick
	paid   bool // the line at hand is charged, and has to wait

	// The message at hand.
	room     string         // its first line
	member   *netsvc.Member // nil: of no room, or of one that is not entered yet
	entering bool           // the room is entered with the next line
	dropping bool           // the room was not entered: the rest is dropped

	mu    sync.Mutex // guards what follows; nothing is called under it
	nick  wire.Name  // the zero Name: a room has not given one yet
	was   map[string]string
	token string // of RESUME
}

// Begin makes the protocol of a session, and greets its client.
func (d *Door) Begin(session *netsvc.RoomsSession, _ []byte) (netsvc.Protocol, error) {
	c := &client{RoomsSession: session, door: d, socket: session.Frames().(*socket), guest: true}
	c.Tell(c.hello())
	c.socket.watch(session.DeclareDead)
	return c, nil
}

// hello is the first answer.
func (c *client) hello() []byte {
	o, svc := c.door.opts(), c.Service()
	conn := c.socket.Conn.(*netsvc.HTTPConn)
	return appendJSON(nil, struct {
		Type      string           `json:"type"`
		Server    string           `json:"server"`
		Version   string           `json:"version"`
		Title     string           `json:"title,omitempty"`
		Host      string           `json:"host,omitempty"`
		Port      int              `json:"port"`
		TLS       bool             `json:"tls"`
		LineBytes int              `json:"line_bytes"`
		IRC       []netip.AddrPort `json:"irc,omitempty"`
	}{"hello", "roomd", o.Version, o.Title, o.Host, svc.Advertised(svc.Port()), conn.IsTLS(), svc.LineBytes(), svc.DoorAddrs("irc")})
}

// appendJSON appends a value as one line of JSON.
func appendJSON(b []byte, v any) []byte {
	w := bytes.NewBuffer(b)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // there are only strings and numbers
	}
	return w.Bytes()
}

// Line handles a line of the client, or a mark of its socket.
func (c *client) Line(line []byte, over int, wait bool) bool {
	if len(line) >= len(markRoom) && line[0] == bell {
		return c.mark(line, over, wait)
	}
	if over == 0 && len(line) > c.Service().LineBytes() { // see netsvc.ShortLine
		over = len(line)
	}
	if c.entering {
		entered, ok := c.enterWith(line, over, wait)
		if !ok || entered {
			return ok
		}
	}
	switch {
	case c.dropping:
		return c.done(c.pay(emptyCost, wait))
	case c.member != nil:
		return c.done(c.say(line, over, wait))
	}
	return c.done(c.request(line, over, wait))
}

// maxName is how many bytes the name of a room may have, of 32 characters.
const maxName = 128

// emptyCost is what a message costs beside its lines, and a line that is dropped.
const emptyCost = 0.02

// done notes that a line is handled, unless it has to wait.
func (c *client) done(ok bool) bool {
	if ok {
		c.paid = false
	}
	return ok
}

// pay charges for the line at hand, once. It returns false if it has to wait.
func (c *client) pay(cost float64, wait bool) bool {
	c.paid = c.paid || c.AwaitTurn(cost, wait)
	return c.paid
}

// mark handles a line that the socket has put in: the beginning or the end of a message.
func (c *client) mark(line []byte, over int, wait bool) bool {
	if string(line[:len(markEnd)]) == markEnd {
		if c.entering {
			_, ok := c.enterWith(nil, 0, wait)
			return ok
		}
		return true
	}
	if !c.pay(emptyCost, wait) {
		return false
	}
	c.paid = false
	c.room, c.member, c.entering, c.dropping = string(bytes.TrimSpace(line[len(markRoom):])), nil, false, false
	if c.room == "" && over == 0 {
		return true
	}
	n, err := wire.ParseName(c.room)
	if over > 0 || len(c.room) > maxName {
		c.room, err = "", wire.Errorf(wire.CodeBadName, "the first line of a message is the name of a room, or empty")
	}
	if err != nil {
		c.refuse(wire.CleanString(c.room), err)
		return true
	}
	c.member = c.In(c.keyNow(n.Key))
	c.entering = c.member == nil
	return true
}

// keyNow returns the folded name of a room that the client may know by an earlier one.
func (c *client) keyNow(key string) string {
	c.mu.Lock()
	now, renamed := c.was[key]
	c.mu.Unlock()
	if !renamed || c.In(key) != nil || c.In(now) == nil {
		return key
	}
	return now
}

// say handles a line in a room.
func (c *client) say(line []byte, over int, wait bool) bool {
	m := c.member
	cost := m.Cost(line, over)
	if cost > 1 && !wait || !c.pay(cost, wait) {
		return false
	}
	own, ok := m.Handle(line, over, wait)
	switch own.Do {
	case wire.Nick:
		if !wait {
			return false
		}
		err := c.takeNick(own.Text, wait)
		if errors.Is(err, netsvc.ErrWait) {
			return false
		}
		if err == nil {
			m.Ok(own.Name, "")
		}
		m.Fail(own.Name, err)
	case wire.Raw:
		m.Fail(own.Name, wire.Errorf(wire.CodeBadRequest, "/raw is for a connection to the room's port"))
	case wire.Quit:
		if !c.AwaitLines(wait) {
			return false
		}
		m.Ok(own.Name, "bye")
		m.Leave(string(netsvc.CauseLeft), nil)
	}
	return ok
}

// enterWith enters the room of the message. used says that the line was its password, or is not to be
// handled any more.
func (c *client) enterWith(line []byte, over int, wait bool) (used, ok bool) {
	password := ""
	if k, err := wire.ParseCommand(wire.Clean(line)); over == 0 && err == nil && k.Do == wire.Pass {
		password, used = k.Text, true
	}
	if !c.pay(1, wait) {
		return false, false
	}
	err := c.join(password, wait)
	if errors.Is(err, netsvc.ErrWait) {
		return false, false
	}
	c.entering, c.paid = false, false
	if err != nil {
		c.refuse(c.room, err)
		return true, true
	}
	return used, true
}

// join makes the client a member of the room of the message.
func (c *client) join(password string, wait bool) error {
	for try := 0; ; try++ {
		m, err := c.Join(netsvc.Join{Room: c.room, Password: password, Nick: c.nick, Format: roomlog.JSON, Greet: c.greet}, wait)
		if err == nil {
			c.member = m
			c.setNick(m.Nick())
			return nil
		}
		var refused *netsvc.JoinError
		if !c.guest || try == guestTries || !errors.As(err, &refused) || refused.Reason != wire.CodeExists {
			return err
		}
		n := "guest-" + strconv.Itoa(1000+rand.IntN(99000)) // the name that another room has given is taken here
		if err := c.Rename(wire.Name{Shown: n, Key: n}); err == nil {
			c.setNick(wire.Name{Shown: n, Key: n})
		}
	}
}

// guestTries is how many names a guest tries in a room.
const guestTries = 8

func (c *client) setNick(n wire.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nick = n
}

// greet returns the answer to entering a room.
func (c *client) greet(w netsvc.Welcome) []netsvc.Part {
	return []netsvc.Part{{Bytes: appendJSON(nil, struct {
		Type      string `json:"type"`
		Command   string `json:"command"`
		Nick      string `json:"nick"`
		Name      string `json:"name"`
		Port      int    `json:"port"`
		ID        uint64 `json:"id"`
		Members   int    `json:"members"`
		Newest    uint64 `json:"newest,omitempty"`
		Oldest    uint64 `json:"oldest,omitempty"`
		Topic     string `json:"topic,omitempty"`
		RoomID    string `json:"room_id"`
		Epoch     string `json:"epoch"`
		LineBytes int    `json:"line_bytes"`
		Locked    bool   `json:"locked,omitempty"`
		ReadOnly  bool   `json:"read_only,omitempty"`
	}{
		"ok", "enter", w.To, w.Name, w.Port, w.ID, w.Members, w.Newest, oldest(w), w.Topic, w.HistoryID, w.Epoch, c.Service().LineBytes(), w.Locked, w.ReadOnly,
	})}}
}

// oldest is the sequence number of the first line that may be there still, if the first one of all is not.
func oldest(w netsvc.Welcome) uint64 {
	if w.Removed == 0 {
		return 0
	}
	return w.Removed + 1
}

// refuse says why a room was not entered. The rest of the message is dropped.
func (c *client) refuse(room string, err error) {
	c.dropping = true
	ev := wire.Event{Type: wire.TypeError, Command: "enter", Code: codeOf(err), Text: textOf(err)}
	b := append(append([]byte(markRoom), room...), '\n')
	c.Reply(append(ev.AppendJSON(b), markRoom+"\n"...)) // what follows is of no room again
}

// codePassword is the code of a room that has a password, which was not given, or was another one.
const codePassword = "password"

// codeOf returns the code of an error.
func codeOf(err error) string {
	var known *wire.Error
	var refused *netsvc.JoinError
	switch {
	case errors.As(err, &known):
		return known.Code
	case !errors.As(err, &refused):
		return wire.CodeInternal
	}
	switch refused.Reason {
	case netsvc.RefusedPassword:
		return codePassword
	case netsvc.RefusedRoomFull:
		return wire.CodeFull
	case netsvc.RefusedBan:
		return wire.CodeDenied
	case netsvc.RefusedClosing:
		return wire.CodeNoRoom
	}
	return string(refused.Reason) // exists, denied: of a nick
}

// textOf returns the sentence of an error.
func textOf(err error) string {
	if codeOf(err) == wire.CodeInternal {
		return "the server could not do that"
	}
	return err.Error()
}

// takeNick takes a nick in all rooms, or in none. The error may be netsvc.ErrWait.
func (c *client) takeNick(name string, wait bool) error {
	if !c.AwaitLines(wait) {
		return netsvc.ErrWait
	}
	if name == c.nick.Shown && name != "" { // also a guest's
		return nil
	}
	n, err := wire.ParseNick(name)
	if err != nil {
		return err
	}
	if err := c.Rename(n); err != nil {
		return err
	}
	c.guest = false
	c.setNick(n)
	return nil
}

// Nick is the nick for the operator's lists.
func (c *client) Nick() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nick.Shown
}

// ends are the codes and sentences for the end of a membership.
var ends = map[netsvc.Cause]struct{ code, text string }{
	netsvc.CauseLeft:     {"left", "you have left"},
	netsvc.CauseKicked:   {"kicked", "the operator has removed you"},
	netsvc.CauseDeleted:  {"deleted", "chat room being deleted"},
	netsvc.CauseLagged:   {"lagged", "you were too far behind"},
	netsvc.CauseHistory:  {"history", "the history cannot be read"},
	netsvc.CauseInternal: {"internal", "the server could not go on"},
}

// Farewell tells the client that its member in a room has ended. The end of the connection says it of
// all.
func (c *client) Farewell(_ netsvc.Place, why netsvc.Cause) []byte {
	e, ok := ends[why]
	if !ok {
		return nil
	}
	return appendJSON(nil, struct {
		Type string `json:"type"`
		Code string `json:"code"`
		Text string `json:"text"`
	}{"end", e.code, e.text})
}

// Renamed tells the client that a room has another name: it is the first line under the new one.
func (c *client) Renamed(at netsvc.Place, was, _ string) []netsvc.Part {
	now := wire.Fold(at.Name)
	c.mu.Lock()
	if c.was == nil {
		c.was = make(map[string]string)
	}
	for old, key := range c.was {
		if key == wire.Fold(was) {
			c.was[old] = now
		}
	}
	c.was[wire.Fold(was)] = now
	c.mu.Unlock()
	return []netsvc.Part{{Bytes: renamedLine(at.Name, was, at.ID)}}
}

func renamedLine(name, was string, id uint64) []byte {
	return appendJSON(nil, struct {
		Type string `json:"type"`
		Name string `json:"name"`
		Was  string `json:"was"`
		ID   uint64 `json:"id"`
	}{"renamed", name, was, id})
}

// LastWords sets the code with which the connection is closed. There are no words: each room had its own.
func (c *client) LastWords(why netsvc.EndReason) []byte {
	code, reason := websocket.StatusNormalClosure, ""
	switch why {
	case netsvc.EndStopping:
		code, reason = websocket.StatusGoingAway, "the server is stopping"
	case netsvc.EndUpgrade:
		code, reason = websocket.StatusServiceRestart, "the server is being upgraded"
	case netsvc.EndBanned:
		code, reason = websocket.StatusPolicyViolation, "you are banned from this server"
	case netsvc.EndKicked:
		code, reason = websocket.StatusPolicyViolation, "the operator has closed your connection"
	case netsvc.EndReplaced:
		code, reason = websocket.StatusPolicyViolation, "another connection of this page has taken its place"
	case netsvc.EndInternal:
		code, reason = websocket.StatusInternalError, "the server could not go on"
	}
	c.socket.closeWith(code, reason)
	return nil
}

// Closed forgets the session.
func (c *client) Closed() {
	c.door.forget(c)
	c.door.feed.leave(c)
}

// State is never called: a WebSocket is not handed over.
func (c *client) State() []byte { return nil }

// resume ends an earlier session of the page, which has the same token.
func (c *client) resume(token string, wait bool) error {
	if len(token) == 0 || len(token) > 64 || strings.Trim(token, tokenBytes) != "" {
		return wire.Errorf(wire.CodeBadRequest, "RESUME takes a token of 1 to 64 letters, digits, - and _")
	}
	d := c.door
	d.forget(c)
	for replaced := (*client)(nil); ; {
		d.mu.Lock()
		before := d.tokens[token]
		if before == nil || before == replaced { // else yet another one has come meanwhile
			d.tokens[token], c.token = c, token
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		if !c.Replace(before.RoomsSession, wait) {
			return netsvc.ErrWait
		}
		replaced = before
	}
}

const tokenBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// forget frees the token of a session.
func (d *Door) forget(c *client) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.token != "" && d.tokens[c.token] == c {
		delete(d.tokens, c.token)
	}
	c.token = ""
}
