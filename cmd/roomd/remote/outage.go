package remote

import (
	"context"
	"fmt"
	"time"

	"roomd/cmd/roomd/progress"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// Outage reports lost and new connections of a room, and gives up if an outage takes too long.
// Set the fields, pass all events of the room to Handle, and call Close. One goroutine uses it.
type Outage struct {
	Display *progress.Display
	Timeout time.Duration // for an outage; 0: no bound
	GiveUp  context.CancelCauseFunc

	timer *time.Timer
}

// Watch handles all events of a room until ctx is done, or the room has ended; then it calls
// GiveUp with the error of the room.
func (o *Outage) Watch(ctx context.Context, room *client.Room) {
	defer o.Close()
	for ev := range room.Events(ctx) {
		o.Handle(ev)
	}
	if err := room.Err(); err != nil && ctx.Err() == nil {
		o.GiveUp(err)
	}
}

// Handle reports an event about the connection, and ignores other events.
func (o *Outage) Handle(ev client.Event) {
	switch ev.Type {
	case client.Offline:
		o.Display.Println("the connection is lost: %s; trying again", wire.CleanString(ev.Text))
		if o.Timeout > 0 {
			o.timer = time.AfterFunc(o.Timeout, func() {
				o.GiveUp(fmt.Errorf("the server was unreachable for %v", o.Timeout))
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
