package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"roomd/cmd/roomd/progress"
	"roomd/netsvc/client"
)

const (
	minRetry = 100 * time.Millisecond // after an attempt
	maxRetry = time.Second            // between attempts, at most
)

// Join joins a room with the Server's password. It waits for problems that pass, and reports
// them on display, until timeout; 0: no bound. The error is safe for a terminal.
func (s *Server) Join(ctx context.Context, display *progress.Display, timeout time.Duration, room string, o client.JoinOptions) (*client.Room, error) {
	within, cancel := ctx, context.CancelFunc(func() {})
	if timeout > 0 {
		within, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	end, bounded := within.Deadline()
	// A dial may notice the deadline before the context does.
	over := func() bool { return within.Err() != nil || bounded && !time.Now().Before(end) }
	var failed error // of the last attempt
	for pause := minRetry; ; pause = min(2*pause, maxRetry) {
		c, err := s.dial(within)
		if err == nil {
			o.Password = s.Password
			var joined *client.Room
			if joined, err = c.Join(within, room, o); err == nil {
				if failed != nil {
					display.Println("connected")
				}
				return joined, nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded) && failed == nil:
			return nil, fmt.Errorf("the server at %s has not answered within %v", s.addr, timeout)
		case over() && failed == nil:
			return nil, CleanError(err)
		case over():
			return nil, fmt.Errorf("%w\nthe command has tried for %v", CleanError(failed), timeout)
		case !client.IsTemporary(err):
			return nil, CleanError(explainPassword(err))
		case failed == nil:
			first, _, _ := strings.Cut(CleanError(err).Error(), "\n")
			display.Println("%s; trying again", first)
		}
		failed = err
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-within.Done():
			t.Stop()
		}
	}
}
