package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"roomd/netsvc/client"
)

// teller says on standard error what happens meanwhile: in lines, and, if a
// person looks, in one that changes.
type teller struct {
	w     io.Writer
	live  bool
	began time.Time

	mu    sync.Mutex
	shown bool // a line of progress stands there
	last  time.Time
}

func newTeller(w io.Writer) *teller { return &teller{w: w, live: isTerminal(w), began: time.Now()} }

// say prints a line.
func (t *teller) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wipe()
	fmt.Fprintf(t.w, "roomd: "+format+"\n", args...)
}

// progress shows how far a long work is: nothing in the first second, and then
// five times a second at most.
func (t *teller) progress(text func() string) {
	if !t.live {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Sub(t.began) < time.Second || now.Sub(t.last) < 200*time.Millisecond {
		return
	}
	t.wipe()
	t.last, t.shown = now, true
	io.WriteString(t.w, text())
}

// clear takes the progress off the screen.
func (t *teller) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wipe()
}

func (t *teller) wipe() {
	if t.shown {
		t.shown = false
		io.WriteString(t.w, "\r\x1b[K")
	}
}

// rate is how many there were in a second, all in all.
func (t *teller) rate(n int) int { return int(float64(n) / time.Since(t.began).Seconds()) }

// watchOutage takes a room's events and says when the server is out of reach
// and when it is back. After patience, if that is not 0, it gives up.
func watchOutage(ctx context.Context, room *client.Room, tell *teller, patience time.Duration, giveUp context.CancelCauseFunc) {
	o := outage{tell: tell, patience: patience, giveUp: giveUp}
	defer o.over()
	for ev := range room.Events(ctx) {
		o.event(ev)
	}
	if err := room.Err(); err != nil && ctx.Err() == nil {
		giveUp(err)
	}
}

// outage tells of a connection that is away.
type outage struct {
	tell     *teller
	patience time.Duration
	giveUp   context.CancelCauseFunc
	timer    *time.Timer
}

func (o *outage) event(ev client.Event) {
	switch ev.Type {
	case client.Offline:
		o.tell.say("the connection is lost: %s; trying again", harmless(ev.Text))
		if o.patience > 0 {
			o.timer = time.AfterFunc(o.patience, func() {
				o.giveUp(fmt.Errorf("the server was out of reach for %v", o.patience))
			})
		}
	case client.Online:
		o.over()
		o.tell.say("the connection is back")
	case client.Gap:
		o.tell.say("%s", harmless(ev.Text))
	}
}

func (o *outage) over() {
	if o.timer != nil {
		o.timer.Stop()
	}
}
