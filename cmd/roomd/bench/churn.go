package bench

import (
	"context"
	"os"
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
	began := time.Now()
	cpu, mine := ch.cpu(), mustCPU(os.Getpid())
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
	r.Took, r.CPU, r.Cycles = time.Since(began), ch.cpu()-cpu, int64(ch.done)
	r.PerCycle = us(r.CPU) / float64(r.Cycles)
	r.LoadCores = float64(mustCPU(os.Getpid())-mine) / float64(r.Took)
	r.Cores = float64(r.CPU) / float64(r.Took)
	r.times(&ch.times)
	return nil
}

func (c *cycle) next() error {
	if c.of.started == c.of.shape.Cycles {
		return nil
	}
	c.of.started++
	c.in, c.got, c.opened = false, c.got[:0], c.of.loop.now()
	c.out = append(c.out[:0], c.of.proto.enter(c.room.name)...)
	return c.of.loop.open(&c.conn, c.room.at, c)
}

func (c *cycle) read(l *loop, data []byte) error {
	if c.in {
		return nil
	}
	c.got = append(c.got, data...)
	in, err := c.of.proto.entered(c.got, c.room.name)
	if err != nil {
		return faultf("a visitor: %v", err)
	}
	if c.in = in; in {
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
