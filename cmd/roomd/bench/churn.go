package bench

import (
	"context"
	"time"
)

// churn is a run in which visitors join and leave.
type churn struct {
	*load
	started, done int
	times         histogram
}

// visit is a connection that joins and leaves, one visitor after the other.
type visit struct {
	conn
	churn    *churn
	room     room
	greeting []byte
	joined   bool
	openedAt time.Duration
}

// run lets all visitors join and leave, while the members of the shape are in the rooms.
func (c *churn) run(ctx context.Context, rooms []room, r *Result) error {
	end := c.startMeasuring()
	for i := range min(c.shape.InFlight, c.shape.Cycles) {
		v := &visit{churn: c, room: rooms[i%len(rooms)]}
		if err := v.start(); err != nil {
			return err
		}
	}
	done := func() bool { return c.done == c.shape.Cycles }
	if err := c.loop.runUntil(ctx, 5*time.Minute, "joining and leaving", done, nil); err != nil {
		return err
	}
	end(r)
	r.Cycles = int64(c.done)
	r.PerCycle = microseconds(r.CPU) / float64(r.Cycles)
	r.Quantiles = c.times.quantiles()
	return nil
}

func (v *visit) start() error {
	c := v.churn
	if c.started == c.shape.Cycles {
		return nil
	}
	c.started++
	v.joined, v.greeting, v.openedAt = false, v.greeting[:0], c.loop.now()
	v.out = append(v.out[:0], c.proto.hello(v.room.name, true)...)
	return c.loop.open(&v.conn, v.room.at, v)
}

func (v *visit) receive(l *loop, data []byte) error {
	if v.joined {
		return nil
	}
	v.greeting = append(v.greeting, data...)
	n, err := v.churn.proto.joined(v.greeting, v.room.name, true)
	if err != nil {
		return faultf("a visitor: %v", err)
	}
	if v.joined = n > 0; v.joined {
		v.churn.times.add(l.now() - v.openedAt)
		return l.closeWrite(&v.conn)
	}
	return nil
}

func (v *visit) closed(_ *loop, cause error) error {
	if !v.joined {
		return faultf("a visitor was not let in: %v", cause)
	}
	v.churn.done++
	return v.start()
}
