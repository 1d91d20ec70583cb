package bench

import (
	"context"
	"time"
)

// churn has visitors join and leave.
type churn struct {
	*load
	started, done int
	times         histogram
}

// visit is one visitor after the other.
type visit struct {
	conn
	churn    *churn
	room     room
	greeting []byte
	joined   bool
	openedAt time.Duration
}

// run is done once all cycles are. The members of the shape sit in the rooms
// meanwhile.
func (ch *churn) run(ctx context.Context, rooms []room, r *Result) error {
	end := ch.startMeasuring()
	for i := range min(ch.shape.InFlight, ch.shape.Cycles) {
		c := &visit{churn: ch, room: rooms[i%len(rooms)]}
		if err := c.start(); err != nil {
			return err
		}
	}
	done := func() bool { return ch.done == ch.shape.Cycles }
	if err := ch.loop.runUntil(ctx, 5*time.Minute, "joining and leaving", done, nil); err != nil {
		return err
	}
	r.LoadCores = end(r)
	r.Cycles = int64(ch.done)
	r.PerCycle = microseconds(r.CPU) / float64(r.Cycles)
	r.Quantiles = ch.times.quantiles()
	return nil
}

func (c *visit) start() error {
	if c.churn.started == c.churn.shape.Cycles {
		return nil
	}
	c.churn.started++
	c.joined, c.greeting, c.openedAt = false, c.greeting[:0], c.churn.loop.now()
	c.out = append(c.out[:0], c.churn.proto.hello(c.room.name, true)...)
	return c.churn.loop.open(&c.conn, c.room.at, c)
}

func (c *visit) receive(l *loop, data []byte) error {
	if c.joined {
		return nil
	}
	c.greeting = append(c.greeting, data...)
	n, err := c.churn.proto.joined(c.greeting, c.room.name, true)
	if err != nil {
		return faultf("a visitor: %v", err)
	}
	if c.joined = n > 0; c.joined {
		c.churn.times.add(l.now() - c.openedAt)
		return l.closeWrite(&c.conn)
	}
	return nil
}

func (c *visit) closed(_ *loop, cause error) error {
	if !c.joined {
		return faultf("a visitor was not let in: %v", cause)
	}
	c.churn.done++
	return c.start()
}
