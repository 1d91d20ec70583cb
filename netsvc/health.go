package netsvc

import (
	"context"
	"fmt"

	"roomd/netsvc/transport"
)

// Health returns nil once every lock has been had and every event loop has made a
// turn: a goroutine that hangs would hold up all others for good. The error says
// what has not happened within ctx; a look at the locks goes on meanwhile, and
// later calls wait for it too. While the server is suspended its loops are, too, and
// are not asked.
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
	case <-ctx.Done():
		return fmt.Errorf("a lock of the rooms is not released: %w", ctx.Err())
	}
	turned := s.engine.Turn()
	if err := transport.Until(ctx, func() bool { return s.engine.Suspended() || turned() }); err != nil {
		return fmt.Errorf("an event loop hangs: %w", err)
	}
	return nil
}
