package client

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// stream is the events that wait for Next, and how far they have come, over all
// connections of a room. Room.mu guards it.
type stream struct {
	seen  uint64 // the newest line that was looked at for ours
	last  uint64 // the newest line that was put into events
	begun bool   // the first connection has begun the stream

	events []Event
	size   int  // bytes of their texts
	skip   bool // events are dropped until a replay brings them again
	live   bool // the stream has caught up
	caught int  // stored lines until then
}

// Read reads from the connection, and asks after a long silence whether the
// server is still there.
func (s *session) Read(p []byte) (int, error) {
	for asked := false; ; asked = true {
		s.conn.SetReadDeadline(time.Now().Add(silence))
		n, err := s.conn.Read(p)
		var timeout net.Error
		if n > 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
			return n, err
		}
		if asked {
			return 0, errors.New("the server is silent")
		}
		s.room.mu.Lock()
		s.expect(&call{line: "/ping\n", command: "ping"})
		s.room.mu.Unlock()
		s.room.wake(s.room.toWrite)
	}
}

// read takes what the server sends and returns why it ended.
func (s *session) read() error {
	in := bufio.NewReaderSize(s, 64<<10)
	isJSON := false
	for {
		line, err := readLine(in)
		switch {
		case err != nil && s.code == Kicked:
			return &Error{Code: Kicked, Text: s.word}
		case errors.Is(err, io.EOF) && s.word != "":
			return dropped(s.word) // what it said last is why
		case errors.Is(err, io.EOF):
			return errClosedThere
		case err != nil:
			return err
		}
		if isJSON = isJSON || s.greeted && bytes.HasPrefix(line, []byte("{")); !isJSON {
			if err := s.greeting(string(line)); err != nil {
				return err
			}
			continue
		}
		var f frame
		if err := json.Unmarshal(line, &f); err != nil {
			return fmt.Errorf("the server does not speak JSON: %w", err)
		}
		if err := s.take(&f); err != nil {
			return err
		}
	}
}

func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(long) > maxFrame {
			return nil, errors.New("the server sends lines without an end")
		}
		line, err = in.ReadSlice('\n')
		long = append(long, line...)
	}
	return long, err
}

// take deals with what the server sent.
func (s *session) take(f *frame) error {
	r := s.room
	s.word, s.code = "", ""
	if f.Type == Notice {
		s.code = f.Code
		_, s.word, _ = strings.Cut(f.Text, ": ")
		s.word = cmp.Or(s.word, f.Text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch f.Type {
	case typeOK, typeError, typePong:
		return s.answer(f)
	case typeMember:
		return s.follow(f)
	}
	if s.follows != nil && f.Stored() {
		return s.follow(f)
	}
	f.Own = f.From == s.me
	switch {
	case f.Type == Nick && f.Own:
		s.me = f.Event.Nick
	case f.Stored() && !s.synced:
		return nil // the replay will bring it
	case f.Stored():
		f.Own = f.From == cmp.Or(r.want, r.guest)
		if f.Seq > r.seen {
			r.seen = f.Seq
			if f.Own {
				if err := s.ours(f); err != nil {
					return err
				}
			}
		}
		if f.Seq <= r.last {
			return nil
		}
	}
	if err := s.admit(f); err != nil {
		return err
	}
	if f.Type == Deleted {
		return ErrDeleted
	}
	return nil
}

// admit puts an event where Next finds it, if need be when there is space. mu
// is held, but not meanwhile.
func (s *session) admit(f *frame) error {
	r := s.room
	for !r.skip && len(r.events) >= fewEvents {
		if len(r.lines) > 0 || r.asked > 0 {
			r.skip = r.size+len(r.events)*100 > manyEvents
			break
		}
		r.mu.Unlock()
		select {
		case <-r.space:
		case <-r.demand:
		case <-s.ctx.Done():
		}
		r.mu.Lock()
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
	}
	if r.skip && f.Type != Deleted {
		return nil
	}
	if f.Stored() {
		r.last = f.Seq
		if !r.live {
			r.caught++
		}
	}
	r.put(f.Event)
	return nil
}

// ours accounts for a line of ours that has come. Room.mu is held.
func (s *session) ours(f *frame) error {
	r := s.room
	if len(r.lines) == 0 || r.lines[0].sent == 0 {
		return nil
	}
	if r.lines[0].sent != r.conn { // from before
		r.arrived(&f.Event)
		return nil
	}
	if len(s.pending) == 0 || s.pending[0].line == nil {
		return nil // somebody who had the nick before us
	}
	l := s.pending[0].line
	if !l.is(&f.Event) {
		for _, it := range s.pending[1:] {
			if it.line != nil && it.line.is(&f.Event) {
				return errors.New("the server's answers are out of order")
			}
		}
	}
	s.pending = s.pending[1:]
	r.arrivedNow(l, f.Seq)
	return nil
}

// answer gives an answer to the call that it is for: they come in order, behind
// the lines that were said before. Room.mu is held.
func (s *session) answer(f *frame) error {
	r := s.room
	if f.Type == typePong {
		f.Command = "ping"
	}
	said := f.Command == "say" || f.Command == "me" || f.Command == "topic"
	if f.Type == typeOK && said {
		return nil // the line itself has come
	}
	if len(s.pending) == 0 {
		return fmt.Errorf("the server answers %q, which was not asked", f.Command)
	}
	it := s.pending[0]
	s.pending = s.pending[1:]
	if it.line != nil {
		if !said {
			return errors.New("the server's answers are out of order")
		}
		r.refused(it.line, f)
		return nil
	}
	c := it.call
	if c.command != f.Command && !said { // what is too long is not even a command
		return fmt.Errorf("the server answers %q and not %q", f.Command, c.command)
	}
	if c.then != nil {
		c.then(f)
	}
	if s.broken != nil {
		return s.broken
	}
	if c.left > 0 {
		s.follows = c
	} else {
		r.answered(c, nil)
	}
	return nil
}

// follow takes a line that follows an answer. Room.mu is held.
func (s *session) follow(f *frame) error {
	c := s.follows
	if c == nil {
		return nil
	}
	if len(c.lines) == mostFollow {
		return errors.New("the server's answer has no end")
	}
	c.lines = append(c.lines, *f)
	if c.left--; c.left == 0 {
		s.follows = nil
		s.room.answered(c, nil)
	}
	return nil
}
