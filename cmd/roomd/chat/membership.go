package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"roomd/admin/english"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// membership is a room that the person is in.
type membership struct {
	// Set by newMembership, then read-only.
	chat *chat
	room *client.Room
	name string
	more chan struct{} // has room for one word: there is something to send

	mu      sync.Mutex
	away    bool // the connection is
	missed  bool // it was, and what was said meanwhile is coming
	members []string
	spoke   []string // who did, the latest last
	oldest  uint64   // line shown
	out     []outgoing
	busy    int // lines in out, and those under way
	failed  int
	empty   chan struct{} // closed when busy is 0; nil: nobody waits
}

type outgoing struct {
	kind client.Type
	text string
}

func newMembership(c *chat, room *client.Room) *membership {
	return &membership{chat: c, room: room, name: wire.CleanString(room.Name()), more: make(chan struct{}, 1)}
}

func (p *membership) prompt() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	state := ""
	if p.busy > 1 {
		state = fmt.Sprintf(", %d to go", p.busy)
	}
	if p.away {
		state += ", away"
	}
	l := p.chat.look
	return l.in(bold, p.name) + " " + l.nick(p.room.Nick()) + state + "> "
}

// listen prints what happens.
func (p *membership) listen() {
	defer p.chat.forget(p)
	for ev := range p.room.Events(p.chat.ctx) {
		p.event(ev)
	}
	p.room.Close()
	select {
	case p.more <- struct{}{}: // speak ends too
	default:
	}
}

func (p *membership) event(ev client.Event) {
	c := p.chat
	switch ev.Type {
	case client.Offline:
		if ev.Code == client.Kicked { // going back at once is for programs
			p.room.Close()
			c.forget(p) // before the person can read it and go back
			c.say("%s: the operator has ended your connection; /join %s goes back", p.name, p.name)
			return
		}
		p.set(func() { p.away = true })
		c.say("%s: the connection is lost: %s; trying again", p.name, wire.CleanString(ev.Text))
		c.prompt()
		return
	case client.Online:
		p.set(func() { p.missed = true })
		return
	case client.Live:
		missed := false
		p.set(func() { missed, p.missed, p.away = p.missed, false, false })
		if missed {
			c.say("%s: back; %s while away", p.name, came(ev.Count))
		}
		c.prompt()
		c.task(p.census)
		return
	case client.Gap:
		c.say("%s: %s", p.name, wire.CleanString(ev.Text))
		return
	}
	p.note(ev)
	if ev.Own && (ev.Type == client.Join || ev.Type == client.Nick) {
		c.prompt()
		return // coming back is told otherwise
	}
	if ev.Type == client.Deleted {
		c.forget(p)
	}
	p.show(ev)
	if ev.Type == client.Deleted {
		c.say("%s is no more", p.name)
	}
}

func came(n int) string {
	if n == 0 {
		return "no line came"
	}
	return english.Plural(n, "line") + " came"
}

// show prints an event.
func (p *membership) show(ev client.Event) {
	l := p.chat.look
	line, loud := l.event(ev, p.room.Nick())
	if p.chat.several() {
		line = l.in(bold, p.name) + " " + line
	}
	line = l.at(ev.Time, line)
	if loud && l.bell {
		line += "\a"
	}
	p.chat.show(ev.Time, line)
}

// several reports whether lines have to say which room they are of.
func (c *chat) several() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(len(c.rooms), c.opening) > 1
}

func (p *membership) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// note keeps the members, for Tab.
func (p *membership) note(ev client.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	without := func(all []string, nick string) []string {
		return slices.DeleteFunc(all, func(o string) bool { return o == nick })
	}
	switch {
	case ev.Type == client.Join:
		p.members = append(without(p.members, ev.From), ev.From)
	case ev.Type == client.Leave:
		p.members = without(p.members, ev.From)
	case ev.Type == client.Nick:
		p.members = append(without(p.members, ev.From), ev.Nick)
	case ev.Stored():
		p.spoke = append(without(p.spoke, ev.From), ev.From)
		if p.oldest == 0 || ev.Seq < p.oldest {
			p.oldest = ev.Seq
		}
	}
}

// census asks who is here.
func (p *membership) census() {
	ctx, cancel := context.WithTimeout(p.chat.ctx, 10*time.Second)
	defer cancel()
	all, err := p.room.Members(ctx)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members = nil
	for _, m := range all {
		p.members = append(p.members, m.Nick)
	}
}

// nicks are the members, those who spoke last first, without us.
func (p *membership) nicks() []string {
	me := p.room.Nick()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for i := len(p.spoke) - 1; i >= 0; i-- {
		if slices.Contains(p.members, p.spoke[i]) {
			all = append(all, p.spoke[i])
		}
	}
	for _, m := range p.members {
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return slices.DeleteFunc(all, func(o string) bool { return o == me })
}

// send queues a line. It does not wait.
func (p *membership) send(kind client.Type, text string) {
	if strings.TrimSpace(text) == "" {
		return // nothing, to a room
	}
	p.mu.Lock()
	p.out = append(p.out, outgoing{kind, text})
	p.busy++
	away, n := p.away, p.busy
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
	if away && n == 1 {
		p.chat.say("%s: what you say is sent when the connection is back", p.name)
	}
	if n > 1 {
		p.chat.prompt()
	}
}

// speak sends what is queued, in order, many lines at a time.
func (p *membership) speak() {
	receipts := make(chan sent, 64)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer close(receipts)
	waiting.Go(func() {
		for s := range receipts {
			_, err := s.receipt.Wait(p.chat.ctx)
			p.arrived(s.text, err)
		}
	})
	for {
		p.mu.Lock()
		out := p.out
		p.out = nil
		p.mu.Unlock()
		for _, o := range out {
			var r *client.Receipt
			var err error
			switch o.kind {
			case client.Action, client.Topic:
				// They are rare: one at a time.
				if o.kind == client.Action {
					_, err = p.room.Act(p.chat.ctx, o.text)
				} else {
					_, err = p.room.SetTopic(p.chat.ctx, o.text)
				}
			default:
				r, err = p.room.Post(p.chat.ctx, o.text)
			}
			if r == nil {
				p.arrived(o.text, err)
				continue
			}
			receipts <- sent{o.text, r}
		}
		select {
		case <-p.more:
		case <-p.chat.ctx.Done():
			return
		}
		if p.room.Err() != nil {
			return
		}
	}
}

type sent struct {
	text    string
	receipt *client.Receipt
}

// arrived accounts for a line that was sent, or not.
func (p *membership) arrived(text string, err error) {
	p.mu.Lock()
	p.busy--
	if err != nil {
		p.failed++
	}
	left := p.busy
	if left == 0 && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
	p.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, client.ErrUnknown):
		p.chat.say("%s: this line may be in the room, or not: %s", p.name, wire.CleanString(text))
	case p.chat.ctx.Err() == nil:
		p.chat.say("%s: %v: %s", p.name, remote.CleanError(err), wire.CleanString(text))
	}
	if left <= 1 || left%10 == 0 {
		p.chat.prompt()
	}
}

func (p *membership) underWay() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy
}

// drain waits until all is sent and returns how many lines were not.
func (p *membership) drain(ctx context.Context) int {
	p.mu.Lock()
	if p.busy > 0 && p.empty == nil {
		p.empty = make(chan struct{})
	}
	wait := p.empty
	p.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed + p.busy
}
