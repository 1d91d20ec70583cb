package bench

import (
	"context"
	"math"
	"time"
)

// restTime is how long members do nothing before they are measured: what a server does
// after thousands have joined is over by then, and memory that it gives back is given back.
const restTime = 20 * time.Second

// measureIdle measures members that do nothing. before is the server's memory without
// them.
func (t *load) measureIdle(ctx context.Context, before int64, r *Result) (err error) {
	if err := t.wait(ctx, min(restTime, t.shape.Settle)); err != nil {
		return err
	}
	if r.Resident, err = t.stableMemory(ctx, t.shape.Settle); err != nil {
		return err
	}
	r.PerMember = float64(r.Resident-before) / float64(len(t.members))
	first, err := wakeUps(t.server.PID)
	if err != nil {
		return err
	}
	end := t.startMeasuring()
	if err := t.wait(ctx, t.shape.Duration); err != nil {
		return err
	}
	end(r)
	last, err := wakeUps(t.server.PID)
	r.WakeUps = float64(last-first) / r.Took.Seconds()
	return err
}

// stableMemory waits until the server's memory has stayed within a thousandth for three
// seconds, or for a limit, and returns it.
func (t *load) stableMemory(ctx context.Context, limit time.Duration) (int64, error) {
	end := time.Now().Add(limit)
	for last, since := int64(0), time.Now(); ; {
		now, err := residentBytes(t.server.PID)
		if err != nil {
			return 0, err
		}
		if math.Abs(float64(now-last)) > float64(now)/1000 {
			last, since = now, time.Now()
		}
		if time.Since(since) >= 3*time.Second || time.Now().After(end) {
			return now, nil
		}
		if err := t.wait(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// wait runs the loop for a while.
func (t *load) wait(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	return t.loop.runUntil(ctx, math.MaxInt64, "", func() bool { return !time.Now().Before(end) }, t.flushDue)
}
