package bench

import (
	"context"
	"time"
)

// churn has visitors join and leave.
type churn struct {
	*talk
	started, done int
	times         histogram
}

// cycle is one visitor after the other.
type cycle struct {
	conn
	of     *churn
	room   place
	got    []byte
	in     bool
	opened time.Duration
}

// run is done once all cycles are. The members of the shape sit in the rooms
// meanwhile.
func (ch *churn) run(ctx context.Context, rooms []place, r *Result) error {
	end := ch.begin()
	for i := range min(ch.shape.InFlight, ch.shape.Cycles) {
		c := &cycle{of: ch, room: rooms[i%len(rooms)]}
		if err := c.next(); err != nil {
			return err
		}
	}
	done := func() bool { return ch.done == ch.shape.Cycles }
	if err := ch.loop.until(ctx, 5*time.Minute, "joining and leaving", done, nil); err != nil {
		return err
	}
	r.LoadCores = end(r)
	r.Cycles = int64(ch.done)
	r.PerCycle = us(r.CPU) / float64(r.Cycles)
	r.Quantiles = ch.times.quantiles()
	return nil
}

func (c *cycle) next() error {
	if c.of.started == c.of.shape.Cycles {
		return nil
	}
	c.of.started++
	c.in, c.got, c.opened = false, c.got[:0], c.of.loop.now()
	c.out = append(c.out[:0], c.of.proto.hello(c.room.name, true)...)
	return c.of.loop.open(&c.conn, c.room.at, c)
}

func (c *cycle) read(l *loop, data []byte) error {
	if c.in {
		return nil
	}
	c.got = append(c.got, data...)
	n, err := c.of.proto.joined(c.got, c.room.name, true)
	if err != nil {
		return faultf("a visitor: %v", err)
	}
	if c.in = n > 0; c.in {
		c.of.times.add(l.now() - c.opened)
		return l.finish(&c.conn)
	}
	return nil
}

func (c *cycle) ended(_ *loop, cause error) error {
	if !c.in {
		return faultf("a visitor was not let in: %v", cause)
	}
	c.of.done++
	return c.next()
}
