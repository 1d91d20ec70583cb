package bench

import (
	"context"
	"errors"
	"math"
	"time"
)

// comeback restarts the server under its members, has all come back at once,
// and checks that they get what is said then.
func (t *load) comeback(ctx context.Context, r *Result) error {
	own := t.server.Process
	if own == nil {
		return errors.New("coming back after a restart needs a server that is started for it: leave out --server")
	}
	t.closing = true
	signalled := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- own.terminate() }()
	gone := func() bool { return t.unjoined == len(t.members) }
	if err := t.loop.runUntil(ctx, time.Minute, "stopping the server", gone, nil); err != nil {
		return err
	}
	if err := <-stopped; err != nil {
		return err
	}
	if err := own.Start(ctx); err != nil {
		return err
	}
	t.server.PID = own.Server().PID
	t.closing = false
	r.Restart = time.Since(signalled)
	began := time.Now()
	for _, m := range t.members {
		m.joined, m.out = false, append(m.out[:0], t.proto.hello(m.stream.room.name, false)...)
		if err := t.loop.open(&m.conn, m.stream.room.at, memberHandler{t, m}); err != nil {
			return err
		}
	}
	if err := t.loop.runUntil(ctx, time.Minute, "coming back", func() bool { return t.unjoined == 0 }, nil); err != nil {
		return err
	}
	r.Back = time.Since(began)
	r.CPU = t.serverCPU()                             // of the start, too
	if err := t.pause(ctx, time.Second); err != nil { // whatever comes still
		return err
	}
	total := 0.0
	for _, m := range t.members {
		total += float64(m.received)
	}
	r.BytesBack = total / float64(len(t.members))
	t.shape.Publishers, t.shape.Bytes, t.shape.InFlight = 1, 64, 8
	t.assignPublishers()
	if err := t.connectPublishers(ctx); err != nil {
		return err
	}
	t.shape.Kind, t.shape.Lines = Fanout, uint64(10*t.shape.Rooms)
	t.startPublishing()
	if err := t.loop.runUntil(ctx, math.MaxInt64, "", func() bool { return !t.publishing }, t.flushDue); err != nil {
		return err
	}
	if err := t.awaitLast(ctx, "the lines after it"); err != nil {
		return err
	}
	r.Lines, r.Deliveries = t.sent, t.deliveries
	return nil
}
