package client

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// stream is the events that wait for Next, over all connections of a room. Room.mu guards it.
type stream struct {
	newestSeen      uint64 // the newest line that may have been confirmed
	newestDelivered uint64 // the newest line in events
	begun           bool   // the first connection has begun the stream

	events     []Event
	eventBytes int  // bytes of their texts
	dropping   bool // events are dropped until a replay brings them again
	live       bool // all lines sent before have come
	replayed   int  // stored lines until then
}

// handle handles a line of the server.
func (s *session) handle(f *frame) error {
	r := s.room
	s.lastNotice, s.lastCode = "", ""
	if f.Type == Notice {
		s.lastCode = f.Code
		_, s.lastNotice, _ = strings.Cut(f.Text, ": ")
		s.lastNotice = cmp.Or(s.lastNotice, f.Text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch f.Type {
	case typeOK, typeError, typePong:
		return s.handleAnswer(f)
	case typeMember:
		return s.collectLine(f)
	}
	if s.collecting != nil && f.Stored() {
		return s.collectLine(f)
	}
	f.Own = f.From == s.nick
	switch {
	case f.Type == Nick && f.Own:
		s.nick = f.Event.Nick
	case f.Stored() && !s.synced:
		return nil // the replay will bring it
	case f.Stored():
		f.Own = f.From == cmp.Or(r.wantedNick, r.guestNick)
		if f.Seq > r.newestSeen {
			r.newestSeen = f.Seq
			if f.Own {
				if err := s.confirmOwn(f); err != nil {
					return err
				}
			}
		}
		if f.Seq <= r.newestDelivered {
			return nil
		}
	}
	if err := s.deliver(f); err != nil {
		return err
	}
	if f.Type == Deleted {
		return ErrDeleted
	}
	return nil
}

// deliver appends an event for Next, once there is space. Room.mu is held, and released while
// deliver waits.
func (s *session) deliver(f *frame) error {
	r := s.room
	for !r.dropping && len(r.events) >= maxEvents {
		if len(r.lines) > 0 || r.unanswered > 0 {
			r.dropping = r.eventBytes+len(r.events)*100 > maxEventBytes
			break
		}
		r.mu.Unlock()
		select {
		case <-r.spaceFree:
		case <-r.answerWanted:
		case <-s.ctx.Done():
		}
		r.mu.Lock()
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
	}
	if r.dropping && f.Type != Deleted {
		return nil
	}
	if f.Stored() {
		r.newestDelivered = f.Seq
		if !r.live {
			r.replayed++
		}
	}
	r.put(f.Event)
	return nil
}

// confirmOwn confirms a line from the member's nick. Room.mu is held.
func (s *session) confirmOwn(f *frame) error {
	r := s.room
	if len(r.lines) == 0 || r.lines[0].sentOn == 0 {
		return nil
	}
	if r.lines[0].sentOn != r.connNumber { // on an earlier connection
		r.confirmEarlier(&f.Event)
		return nil
	}
	if len(s.pending) == 0 || s.pending[0].line == nil {
		return nil // of a member that had the nick before
	}
	l := s.pending[0].line
	if l.withID {
		if l.seq == 0 && l.matches(&f.Event) {
			l.seq = f.Seq // as in confirmEarlier: the answer, which follows, may be lost
		}
		return nil
	}
	if !l.matches(&f.Event) {
		for _, it := range s.pending[1:] {
			if it.line != nil && it.line.matches(&f.Event) {
				return errors.New("the server's answers are out of order")
			}
		}
	}
	s.pending = s.pending[1:]
	r.confirm(l, f.Seq)
	return nil
}

// handleAnswer gives an answer to its call: answers come in the order of the calls, behind the
// lines that were sent before. Room.mu is held.
func (s *session) handleAnswer(f *frame) error {
	r := s.room
	if f.Type == typePong {
		f.Command = "ping"
	}
	said := f.Command == "say" || f.Command == "me" || f.Command == "notice" || f.Command == "topic"
	if f.Type == typeOK && said {
		return nil // the line has come before
	}
	said = said || f.Command == "id"
	if len(s.pending) == 0 {
		return fmt.Errorf("the server answers %q, which was not asked", f.Command)
	}
	it := s.pending[0]
	s.pending = s.pending[1:]
	if it.line != nil {
		switch {
		case !said, f.Command == "id" && f.ID != it.line.id:
			return errors.New("the server's answers are out of order")
		case f.Type == typeOK:
			r.confirm(it.line, f.Seq)
		default:
			r.reject(it.line, f)
		}
		return nil
	}
	c := it.call
	if c.command != f.Command && !said { // a command that is too long is answered as a line
		return fmt.Errorf("the server answers %q and not %q", f.Command, c.command)
	}
	if c.handle != nil {
		c.handle(f)
	}
	if s.failure != nil {
		return s.failure
	}
	if c.missing > 0 {
		s.collecting = c
	} else {
		r.answered(c, nil)
	}
	return nil
}

// collectLine takes a line after an answer. Room.mu is held.
func (s *session) collectLine(f *frame) error {
	c := s.collecting
	if c == nil {
		return nil
	}
	if len(c.lines) == maxAnswerLines {
		return errors.New("the server's answer has no end")
	}
	c.lines = append(c.lines, *f)
	if c.missing--; c.missing == 0 {
		s.collecting = nil
		s.room.answered(c, nil)
	}
	return nil
}
