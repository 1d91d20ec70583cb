package bench

import (
	"context"
	"math"
	"time"
)

// measureIdle measures members that do nothing.
func (t *load) measureIdle(ctx context.Context, before int64, r *Result) error {
	now, err := t.stableMemory(ctx, t.shape.Settle)
	if err != nil {
		return err
	}
	r.Resident = now
	r.PerMember = float64(now-before) / float64(len(t.members))
	woken, err := wakeUps(t.server.PID)
	if err != nil {
		return err
	}
	end := t.startMeasuring()
	if err := t.pause(ctx, t.shape.Duration); err != nil {
		return err
	}
	again, err := wakeUps(t.server.PID)
	if err != nil {
		return err
	}
	end(r)
	r.WakeUps = float64(again-woken) / r.Took.Seconds()
	return nil
}

// stableMemory waits until the server's memory is at rest: within a thousandth for
// three seconds, or for as long as it may take.
func (t *load) stableMemory(ctx context.Context, most time.Duration) (int64, error) {
	const calm = 3 * time.Second
	end := time.Now().Add(most)
	for last, since := int64(0), time.Now(); ; {
		now, err := residentBytes(t.server.PID)
		if err != nil {
			return 0, err
		}
		if math.Abs(float64(now-last)) > float64(now)/1000 {
			last, since = now, time.Now()
		}
		if time.Since(since) >= calm || time.Now().After(end) {
			return now, nil
		}
		if err := t.pause(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// pause runs the loop for a while.
func (t *load) pause(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	return t.loop.runUntil(ctx, math.MaxInt64, "", func() bool { return !time.Now().Before(end) }, t.flushDue)
}
