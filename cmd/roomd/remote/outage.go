package remote

import (
	"context"
	"fmt"
	"time"

	"roomd/cmd/roomd/progress"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// Outage says when the connection of a room breaks and when it is back, and gives up
// if that takes too long. Set the fields, give it all events of the room, and Close
// it. It belongs to one goroutine.
type Outage struct {
	Display *progress.Display
	Timeout time.Duration // from the break until it gives up; 0: never
	GiveUp  context.CancelCauseFunc

	timer *time.Timer
}

// Watch takes all events of a room until ctx is done or the room has ended; then it
// calls GiveUp with why.
func (o *Outage) Watch(ctx context.Context, room *client.Room) {
	defer o.Close()
	for ev := range room.Events(ctx) {
		o.Handle(ev)
	}
	if err := room.Err(); err != nil && ctx.Err() == nil {
		o.GiveUp(err)
	}
}

// Handle takes an event of the room. Of those that are not about the connection it
// says nothing.
func (o *Outage) Handle(ev client.Event) {
	switch ev.Type {
	case client.Offline:
		o.Display.Println("the connection is lost: %s; trying again", wire.CleanString(ev.Text))
		if o.Timeout > 0 {
			o.timer = time.AfterFunc(o.Timeout, func() {
				o.GiveUp(fmt.Errorf("the server was out of reach for %v", o.Timeout))
			})
		}
	case client.Online:
		o.Close()
		o.Display.Println("the connection is back")
	case client.Gap:
		o.Display.Println("%s", wire.CleanString(ev.Text))
	}
}

// Close stops the timer.
func (o *Outage) Close() {
	if o.timer != nil {
		o.timer.Stop()
	}
}
