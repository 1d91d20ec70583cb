package bench

import (
	"context"
	"errors"
	"time"
)

// comeback restarts the server, reconnects all members at once, and checks that they get
// the lines after that.
func (t *load) comeback(ctx context.Context, r *Result) error {
	p := t.server.Process
	if p == nil {
		return errors.New("coming back after a restart needs a server that is started for it: leave out --server")
	}
	t.closing = true
	signalled := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- p.terminate() }()
	gone := func() bool { return t.unjoined == len(t.members) }
	if err := t.loop.runUntil(ctx, time.Minute, "stopping the server", gone, nil); err != nil {
		return err
	}
	if err := <-stopped; err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	t.server.PID = p.Server().PID
	t.closing = false
	r.Restart = time.Since(signalled)
	began := time.Now()
	for _, m := range t.members {
		if err := t.openMember(m); err != nil {
			return err
		}
	}
	if err := t.loop.runUntil(ctx, time.Minute, "coming back", t.allJoined, nil); err != nil {
		return err
	}
	r.Back = time.Since(began)
	r.CPU = cpuTime(t.server.PID)                    // includes the start
	if err := t.wait(ctx, time.Second); err != nil { // for late lines
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
	if err := t.publishFor(ctx, t.shape.Patience, uint64(10*t.shape.Rooms)); err != nil {
		return err
	}
	if err := t.drain(ctx, "the lines after the restart"); err != nil {
		return err
	}
	r.Lines, r.Deliveries = t.sent, t.deliveries
	return nil
}
