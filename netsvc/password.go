package netsvc

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"roomd/netsvc/passwd"
	"roomd/netsvc/wire"
	"roomd/store"
)

// makeTime is how long a new password waits for its turn to be hashed.
const makeTime = 5 * time.Second

// SetPassword gives a room a password, on disk before it returns, or takes it
// away: "". The members of the room stay. Connections that wait to give the password
// are then told to connect again.
func (s *Service) SetPassword(name, password string) error {
	r, end, err := s.alterRoom(name)
	if err != nil {
		return err
	}
	defer end()
	if strings.ContainsFunc(password, unicode.IsSpace) { // nobody could give it
		return wire.Errorf(wire.CodeBadRequest, "a password is one word")
	}
	var p *passwd.Password
	if password != "" {
		if p, err = s.newPassword(password, nil); err != nil {
			return err
		}
	}
	hash := p.Hash()
	if err := r.update(store.Edit{Password: &hash, Owner: p}); err != nil {
		return err
	}
	if p == nil {
		s.gate.open(r)
	}
	return nil
}

// newPassword hashes a password as it was typed. The error is errLater if the
// caller does not wait for its turn while the server is to be suspended.
func (s *Service) newPassword(typed string, still <-chan struct{}) (*passwd.Password, error) {
	text, err := wire.ParsePassword(wire.CleanString(typed))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.stop, makeTime)
	defer cancel()
	p, err := passwd.New(ctx, still, text)
	var held passwd.Held
	switch {
	case s.stop.Err() != nil:
		return nil, wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
	case ctx.Err() != nil:
		return nil, wire.Errorf(wire.CodeBusy, "%s", passwd.Busy)
	case errors.As(err, &held):
		return nil, wire.Errorf(wire.CodeBusy, "%s", held)
	case errors.Is(err, passwd.ErrSuspended):
		return nil, errLater
	}
	return p, err
}

// answerPassword looks at a password given at the gate. Without one, text is "". Only
// the newest of the room lets it in.
func (c *caller) answerPassword(text string) (answer string, err error) {
	r, g, p := c.room, &c.svc.gate, c.password
	if now := r.password.Load(); now != nil {
		p = now
	}
	ctx, cancel := context.WithCancel(c.svc.stop)
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	ended := c.err
	c.mu.Unlock()
	if ended != nil {
		return "", ended
	}
	err = c.svc.guesses.Check(ctx, c.svc.engine.Suspending(), p, c.remote.Addr(), text)
	var held passwd.Held
	var wrong passwd.Wrong
	switch {
	case err == nil:
		g.right.Add(1)
		r.remember(c.remote.Addr())
		c.passed = true
		return "", nil
	case errors.As(err, &held):
		g.held.Add(1)
		return wire.Notice(string(held)), nil
	case errors.As(err, &wrong):
		g.wrong.Add(1)
		c.svc.log.Info("wrong password", "room", r.name(), "remote", c.remote, "next_after", wrong.Next)
		return wire.Notice(wrong.Error()), nil
	case errors.Is(err, passwd.ErrSuspended):
		err = errLater
	case ctx.Err() == nil:
		c.svc.log.Error("password", "room", r.name(), "error", err)
		err = refusal(wire.Notice("the server could not compare the password"))
	}
	return "", err
}

// remember notes that the address of a member is known in its room.
func (r *Room) remember(a netip.Addr) {
	if p := r.password.Load(); p != nil {
		r.svc.mu.Lock()
		rooms := len(r.svc.rooms)
		r.svc.mu.Unlock()
		r.svc.guesses.Remember(time.Now(), p, a, rooms)
	}
}
