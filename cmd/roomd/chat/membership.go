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

// membership is a joined room.
type membership struct {
	// Set by newMembership, then read-only.
	chat *chat
	room *client.Room
	name string
	wake chan struct{} // capacity 1: sendQueue has something to send

	mu          sync.Mutex
	offline     bool // the connection is lost
	reconnected bool // it was lost, and the missed lines are arriving
	members     []string
	speakers    []string // nicks, the latest speaker last
	oldestShown uint64   // sequence number; 0: none
	queue       []outgoing
	pending     int // lines in queue or without a receipt
	failed      int
	drained     chan struct{} // closed when pending is 0; nil: nobody waits
}

type outgoing struct {
	kind client.Type
	text string
}

func newMembership(c *chat, room *client.Room) *membership {
	return &membership{chat: c, room: room, name: wire.CleanString(room.Name()), wake: make(chan struct{}, 1)}
}

func (p *membership) prompt() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	state := ""
	if p.pending > 1 {
		state = fmt.Sprintf(", %d to go", p.pending)
	}
	if p.offline {
		state += ", away"
	}
	l := p.chat.style
	return l.colour(bold, p.name) + " " + l.nick(p.room.Nick()) + state + "> "
}

// readEvents prints the events of the room.
func (p *membership) readEvents() {
	defer p.chat.removeRoom(p)
	for ev := range p.room.Events(p.chat.ctx) {
		p.handleEvent(ev)
	}
	p.room.Close()
	select {
	case p.wake <- struct{}{}: // sendQueue ends too
	default:
	}
}

func (p *membership) handleEvent(ev client.Event) {
	c := p.chat
	switch ev.Type {
	case client.Offline:
		if ev.Code == client.Kicked { // only programs join again at once
			p.room.Close()
			c.removeRoom(p) // before the person reads the message and joins again
			c.say("%s: the operator has kicked you; /join %s joins again", p.name, p.name)
			return
		}
		p.locked(func() { p.offline = true })
		c.say("%s: the connection is lost: %s; connecting again", p.name, wire.CleanString(ev.Text))
		c.updatePrompt()
		return
	case client.Online:
		p.locked(func() { p.reconnected = true })
		return
	case client.Live:
		missed := false
		p.locked(func() { missed, p.reconnected, p.offline = p.reconnected, false, false })
		if missed {
			c.say("%s: connected again; %s in the meantime", p.name, linesCame(ev.Count))
		}
		c.updatePrompt()
		c.goTask(p.loadMembers)
		return
	case client.Gap:
		c.say("%s: %s", p.name, wire.CleanString(ev.Text))
		return
	}
	p.track(ev)
	if ev.Own && (ev.Type == client.Join || ev.Type == client.Nick) {
		c.updatePrompt()
		return // client.Live reports a new connection
	}
	if ev.Type == client.Deleted {
		c.removeRoom(p)
	}
	p.printEvent(ev)
	if ev.Type == client.Deleted {
		c.say("%s is deleted", p.name)
	}
}

func linesCame(n int) string {
	if n == 0 {
		return "no line came"
	}
	return english.Plural(n, "line") + " came"
}

// printEvent prints an event.
func (p *membership) printEvent(ev client.Event) {
	l := p.chat.style
	line, loud := l.event(ev, p.room.Nick())
	if p.chat.multipleRooms() {
		line = l.colour(bold, p.name) + " " + line
	}
	line = l.withTime(ev.Time, line)
	if loud && l.bell {
		line += "\a"
	}
	p.chat.printEvent(ev.Time, line)
}

// multipleRooms reports whether lines have to name their room.
func (c *chat) multipleRooms() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(len(c.rooms), c.joining) > 1
}

func (p *membership) locked(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// track keeps the members and the speakers, for completion.
func (p *membership) track(ev client.Event) {
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
		p.speakers = append(without(p.speakers, ev.From), ev.From)
		if p.oldestShown == 0 || ev.Seq < p.oldestShown {
			p.oldestShown = ev.Seq
		}
	}
}

// loadMembers asks the server for the members.
func (p *membership) loadMembers() {
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

// nicks returns the other members; those that spoke last come first.
func (p *membership) nicks() []string {
	me := p.room.Nick()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for i := len(p.speakers) - 1; i >= 0; i-- {
		if slices.Contains(p.members, p.speakers[i]) {
			all = append(all, p.speakers[i])
		}
	}
	for _, m := range p.members {
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return slices.DeleteFunc(all, func(o string) bool { return o == me })
}

// enqueue queues a line for sendQueue.
func (p *membership) enqueue(kind client.Type, text string) {
	if strings.TrimSpace(text) == "" {
		return // the server ignores a blank line
	}
	p.mu.Lock()
	p.queue = append(p.queue, outgoing{kind, text})
	p.pending++
	away, n := p.offline, p.pending
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	if away && n == 1 {
		p.chat.say("%s: your lines are sent after the next connection", p.name)
	}
	if n > 1 {
		p.chat.updatePrompt()
	}
}

// sendQueue sends the queued lines in order, without waiting for each receipt.
func (p *membership) sendQueue() {
	receipts := make(chan sent, 64)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer close(receipts)
	waiting.Go(func() {
		for s := range receipts {
			_, err := s.receipt.Wait(p.chat.ctx)
			p.finishLine(s.text, err)
		}
	})
	for {
		p.mu.Lock()
		out := p.queue
		p.queue = nil
		p.mu.Unlock()
		for _, o := range out {
			var r *client.Receipt
			var err error
			switch o.kind {
			case client.Action, client.Notice, client.Topic:
				send := p.room.SetTopic
				switch o.kind {
				case client.Action:
					send = p.room.SendAction
				case client.Notice:
					send = p.room.SendNotice
				}
				_, err = send(p.chat.ctx, o.text) // these are rare: wait for each
			default:
				r, err = p.room.Post(p.chat.ctx, o.text)
			}
			if r == nil {
				p.finishLine(o.text, err)
				continue
			}
			receipts <- sent{o.text, r}
		}
		select {
		case <-p.wake:
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

// finishLine counts a line that was sent, or reports its error.
func (p *membership) finishLine(text string, err error) {
	p.mu.Lock()
	p.pending--
	if err != nil {
		p.failed++
	}
	left := p.pending
	if left == 0 && p.drained != nil {
		close(p.drained)
		p.drained = nil
	}
	p.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, client.ErrOutcomeUnknown):
		p.chat.say("%s: it is unknown whether this line is in the room: %s", p.name, wire.CleanString(text))
	case p.chat.ctx.Err() == nil:
		p.chat.say("%s: %v: %s", p.name, remote.CleanError(err), wire.CleanString(text))
	}
	if left <= 1 || left%10 == 0 {
		p.chat.updatePrompt()
	}
}

func (p *membership) pendingLines() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending
}

// drain waits until the queue is sent, and returns how many lines were not sent.
func (p *membership) drain(ctx context.Context) int {
	p.mu.Lock()
	if p.pending > 0 && p.drained == nil {
		p.drained = make(chan struct{})
	}
	wait := p.drained
	p.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed + p.pending
}
