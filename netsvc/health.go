package netsvc

import (
	"context"
	"fmt"
)

// Health returns nil once every lock has been had: a goroutine that hangs with
// one would hold up all others for good. The error says that this has not
// happened within ctx; the look goes on meanwhile, and later calls wait for it
// too.
func (s *Service) Health(ctx context.Context) error {
	s.looking.Lock()
	if s.look == nil {
		look := make(chan struct{})
		s.look = look
		go func() {
			defer close(look)
			s.Lag() // takes the locks of the service, of every room and of its log
			s.looking.Lock()
			s.look = nil
			s.looking.Unlock()
		}()
	}
	look := s.look
	s.looking.Unlock()
	select {
	case <-look:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a lock of the rooms is not let go of: %w", ctx.Err())
	}
}
