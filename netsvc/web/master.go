package web

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

// request handles a line of no room: what the master port takes, and NICK, WATCH and RESUME.
func (c *client) request(line []byte, over int, wait bool) bool {
	svc := c.Service()
	if over > 0 {
		if !c.pay(1, wait) {
			return false
		}
		c.fail("", wire.Errorf(wire.CodeTooLong, "the line is longer than the limit"))
		return true
	}
	text := wire.Clean(line)
	words := strings.Fields(text)
	command := strings.ToLower(clipWord(words[0]))
	switch command {
	case "nick", "watch", "resume":
		cost := svc.RequestCost("")
		if command == "watch" {
			cost = svc.RequestCost(wire.VerbList)
		}
		if cost > 1 && !wait || !c.pay(cost, wait) {
			return false
		}
		return c.ours(command, words[1:], wait)
	}
	req, err := wire.ParseRequest(text)
	cost := svc.RequestCost(req.Verb)
	if cost > 1 && !wait || !c.pay(cost, wait) {
		return false
	}
	if err != nil {
		c.fail(command, err)
		return true
	}
	switch req.Verb {
	case wire.VerbList:
		c.Reply(appendRooms(nil, "list", roomsOf(svc, svc.ListMatching(req.Name))))
		return true
	case wire.VerbHelp:
		ok := wire.Event{Type: wire.TypeOK, Command: command, Text: strings.Join(append(wire.RequestHelp(),
			"NICK name: take that name in all rooms", "WATCH: the rooms, and then what changes", "RESUME token: end the earlier connection of this page"), "\n")}
		c.Reply(ok.AppendJSON(nil))
		return true
	case wire.VerbQuit:
		c.Reply((&wire.Event{Type: wire.TypeOK, Command: command, Text: "bye"}).AppendJSON(nil))
		c.End(netsvc.EndLeft)
		return true
	}
	if !wait {
		return false
	}
	info, key, err := c.HandleRequest(req)
	if errors.Is(err, netsvc.ErrWait) {
		return false
	}
	if err != nil {
		c.fail(command, err)
		return true
	}
	c.Reply(appendJSON(nil, struct {
		Type    string `json:"type"`
		Command string `json:"command"`
		Name    string `json:"name"`
		Port    int    `json:"port,omitempty"`
		Members int    `json:"members,omitempty"`
		Key     string `json:"key,omitempty"`
	}{"ok", command, info.Name, info.Port, info.Members, key}))
	return true
}

// ours handles NICK, WATCH and RESUME.
func (c *client) ours(command string, args []string, wait bool) bool {
	if len(args) != map[string]int{"nick": 1, "resume": 1}[command] {
		c.fail(command, wire.Errorf(wire.CodeBadRequest, "NICK takes one name, RESUME one token, and WATCH nothing"))
		return true
	}
	var err error
	switch command {
	case "watch":
		c.door.feed.join(c)
		return true
	case "nick":
		err = c.takeNick(args[0], wait)
	case "resume":
		err = c.resume(args[0], wait)
	}
	switch {
	case errors.Is(err, netsvc.ErrWait):
		return false
	case err != nil:
		c.fail(command, err)
		return true
	}
	ok := wire.Event{Type: wire.TypeOK, Command: command}
	if command == "nick" {
		c.Reply(appendJSON(nil, struct {
			Type    string `json:"type"`
			Command string `json:"command"`
			Nick    string `json:"nick"`
		}{"ok", command, c.nick.Shown}))
		return true
	}
	c.Reply(ok.AppendJSON(nil))
	return true
}

// fail answers a request that has failed.
func (c *client) fail(command string, err error) {
	ev := wire.Event{Type: wire.TypeError, Command: command, Code: codeOf(err), Text: textOf(err)}
	c.Reply(ev.AppendJSON(nil))
}

// clipWord cuts a word to what an answer may repeat.
func clipWord(s string) string {
	const most = 32
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

// roomLine is a room in the answers to LIST and WATCH. What is empty is left out.
type roomLine struct {
	Type     string    `json:"type"`
	Name     string    `json:"name"`
	Port     int       `json:"port"`
	ID       uint64    `json:"id"`
	Members  int       `json:"members,omitempty"`
	Newest   uint64    `json:"newest,omitempty"`
	Topic    string    `json:"topic,omitempty"`
	Locked   bool      `json:"locked,omitempty"`
	ReadOnly bool      `json:"read_only,omitempty"`
	Created  time.Time `json:"created"`
}

// roomsOf returns the lines of rooms.
func roomsOf(svc *netsvc.Service, infos []netsvc.RoomInfo) []roomLine {
	lines := make([]roomLine, len(infos))
	for i, r := range infos {
		r = r.ForStrangers()
		lines[i] = roomLine{"room", r.Name, svc.Advertised(r.Port), r.ID, r.Members, r.Newest, r.Topic, r.Locked, r.ReadOnly, r.Created.UTC().Truncate(time.Second)}
	}
	return lines
}

// appendRooms appends the answer to a command that lists rooms.
func appendRooms(b []byte, command string, rooms []roomLine) []byte {
	n := len(rooms)
	b = (&wire.Event{Type: wire.TypeOK, Command: command, Count: &n}).AppendJSON(b)
	for _, r := range rooms {
		b = appendJSON(b, r)
	}
	return b
}

const (
	// watchEvery is how often the watchers are told what has changed. They are told tellAtOnce at a time,
	// for most of that time: a thousand writes in a row would delay the lines of the rooms.
	watchEvery = time.Second
	tellAtOnce = 16
)

// feed tells watchers what changes in the list of rooms.
type feed struct {
	mu       sync.Mutex
	watchers []*watcher    // in the order in which they are told
	rooms    []roomLine    // what the watchers know, or are just told, unless they have missed something
	all      []byte        // rooms as the answer to WATCH; nil: not rendered yet
	stop     chan struct{} // closed when the last watcher leaves
}

// watcher is a client that has said WATCH. mu of the feed guards it.
type watcher struct {
	*client
	missed bool // it has missed something, and gets the whole list
	left   bool
}

// join answers WATCH, and tells the client of changes from then on.
func (f *feed) join(c *client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.watchers) == 0 {
		f.stop = make(chan struct{})
		f.rooms, f.all = roomsOf(c.Service(), c.Service().List()), nil
		go f.run(c.Service(), f.stop)
	}
	i := f.index(c)
	if i < 0 {
		i = len(f.watchers)
		f.watchers = append(f.watchers, &watcher{client: c})
	}
	f.watchers[i].missed = !c.Tell(f.answer())
}

// index returns the place of a client among the watchers; -1: it has none. mu is held.
func (f *feed) index(c *client) int {
	return slices.IndexFunc(f.watchers, func(w *watcher) bool { return w.client == c })
}

// leave ends the watch of a client, if it has one.
func (f *feed) leave(c *client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.index(c)
	if i < 0 {
		return
	}
	f.watchers[i].left = true
	if f.watchers = slices.Delete(f.watchers, i, i+1); len(f.watchers) == 0 {
		close(f.stop)
		f.rooms, f.all = nil, nil
	}
}

// answer is the answer to WATCH. mu is held.
func (f *feed) answer() []byte {
	if f.all == nil {
		f.all = appendRooms(nil, "watch", f.rooms)
	}
	return f.all
}

// run looks for changes until the last watcher leaves.
func (f *feed) run(svc *netsvc.Service, stop <-chan struct{}) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-stop:
			return
		}
		f.tell(roomsOf(svc, svc.List()), stop)
	}
}

// tell tells the watchers what has changed. One that comes meanwhile knows it.
func (f *feed) tell(rooms []roomLine, stop <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-stop: // and others may have come since
		return
	default:
	}
	news := changes(f.rooms, rooms)
	if len(news) > 0 {
		f.rooms, f.all = rooms, nil
	}
	all := slices.Clone(f.watchers)
	pause := watchEvery * 3 / 4 / time.Duration(len(all)/tellAtOnce+1)
	for i, w := range all {
		switch {
		case w.left:
			continue
		case w.missed:
			w.missed = !w.Tell(f.answer())
		case len(news) > 0:
			w.missed = !w.Tell(news)
		default:
			continue
		}
		if i%tellAtOnce == tellAtOnce-1 {
			f.mu.Unlock()
			time.Sleep(pause)
			f.mu.Lock()
		}
	}
}

// changes returns the lines that make one list of rooms of another.
func changes(before, now []roomLine) (b []byte) {
	old := make(map[uint64]roomLine, len(before))
	for _, r := range before {
		old[r.ID] = r
	}
	for _, r := range now {
		was, ok := old[r.ID]
		delete(old, r.ID)
		if ok && was.Name != r.Name {
			b = append(b, renamedLine(r.Name, was.Name, r.ID)...)
		}
		if !ok || was != r {
			b = appendJSON(b, r)
		}
	}
	for _, r := range before {
		if _, gone := old[r.ID]; gone {
			b = appendJSON(b, struct {
				Type string `json:"type"`
				Name string `json:"name"`
				ID   uint64 `json:"id"`
			}{"gone", r.Name, r.ID})
		}
	}
	return b
}
