//go:build !linux

package netsvc

import (
	"context"
	"errors"
	"time"
)

// Send and Receive are of Linux.
type (
	Send    func(kind string, v any, fds ...int) error
	Receive func() (kind string, body []byte, fds []int, err error)
)

var errNoLoops = errors.New("connections cannot be handed over on this system")

// Freeze, HandOver and Adopt fail: there are no event loops.
func (s *Service) Freeze(context.Context) error           { return errNoLoops }
func (s *Service) HandOver(Send) (members int, err error) { return 0, errNoLoops }
func (s *Service) Adopt(Receive) error                    { return errNoLoops }

// Thaw and Abandon are never called.
func (s *Service) Thaw()                 {}
func (s *Service) Abandon(time.Duration) {}
