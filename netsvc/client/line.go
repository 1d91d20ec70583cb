package client

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	// ErrOutcomeUnknown says that a line may be in the room.
	ErrOutcomeUnknown = errors.New("the line may or may not be in the room")
	// ErrClosed says that Close was called.
	ErrClosed = errors.New("the room was closed here")
	// ErrDeleted says that the room was deleted.
	ErrDeleted = errors.New("the room was deleted")
	// ErrBlank says that a line has only white space.
	ErrBlank = errors.New("a line of white space only is nothing to send")
	// ErrRefused says that the server refused a line in the moment when the connection broke:
	// the line is not in the room.
	ErrRefused = errors.New("the server refused the line; the reason was lost with the connection")
	// ErrMultiline says that a text has more than one line.
	ErrMultiline = errors.New("the text has a line end in it")
)

// Receipt is a line on its way into the room.
type Receipt struct {
	room *Room
	done chan struct{} // closed when the outcome is known

	// Set by Post, then read-only.
	kind Type   // Notice for a message that is one
	text string // as it was given
	line string // as it is sent without an ID, with its line end
	id   string // no other line has it

	// Guarded by Room.mu until done is closed.
	sentOn    int    // the number of the connection that it was sent on; 0: it is not in the room
	withID    bool   // it was sent with its ID: if it is in the room, the server says so when it is sent again
	abandoned bool   // no caller waits for it
	seq       uint64 // until done is closed: of a line that seems to be this one; 0: none
	err       error
}

// Done is closed when the line is in the room, or will not be.
func (l *Receipt) Done() <-chan struct{} { return l.done }

// Wait returns the line's sequence number once the line is in the room. If the server refused
// the line the error is an *Error. If ctx ends first, a line that has not been sent is not
// sent any more; for a line that has been sent the error is also ErrOutcomeUnknown.
func (l *Receipt) Wait(ctx context.Context) (seq uint64, err error) {
	select {
	case <-l.done:
		return l.seq, l.err
	case <-ctx.Done():
		return l.room.abandon(l, context.Cause(ctx))
	}
}

// Send sends a line and returns its sequence number when it is in the room. A text that begins
// with "/" is text, too.
func (r *Room) Send(ctx context.Context, text string) (seq uint64, err error) {
	return r.send(ctx, Message, text)
}

// SendAction sends what the member does, like "waves". White space around the text is cut off.
func (r *Room) SendAction(ctx context.Context, text string) (seq uint64, err error) {
	return r.send(ctx, Action, strings.TrimSpace(text))
}

// SendNotice sends a line that no program must answer: a message with Event.Notice. White space
// around the text is cut off. A server that does not know notices refuses it: *Error of the code
// BadRequest.
func (r *Room) SendNotice(ctx context.Context, text string) (seq uint64, err error) {
	return r.send(ctx, Notice, strings.TrimSpace(text))
}

// SetTopic sets the room's topic.
func (r *Room) SetTopic(ctx context.Context, text string) (seq uint64, err error) {
	return r.send(ctx, Topic, strings.TrimSpace(text))
}

func (r *Room) send(ctx context.Context, kind Type, text string) (uint64, error) {
	l, err := r.post(ctx, kind, text)
	if err != nil {
		return 0, err
	}
	return l.Wait(ctx)
}

// Post sends a line after all earlier ones, and does not wait until it is in the room. Post
// waits while JoinOptions.Window lines are on their way.
func (r *Room) Post(ctx context.Context, text string) (*Receipt, error) {
	return r.post(ctx, Message, text)
}

func (r *Room) post(ctx context.Context, kind Type, text string) (*Receipt, error) {
	text = strings.TrimSuffix(text, "\r") // the server drops a CR before the line end
	switch {
	case strings.Contains(text, "\n"):
		return nil, ErrMultiline
	case strings.TrimFunc(text, unicode.IsSpace) == "":
		return nil, ErrBlank
	}
	wire := sanitize(text)
	if !utf8.ValidString(text) {
		text = string([]rune(text)) // each invalid byte becomes U+FFFD, as at the server
	}
	l := &Receipt{room: r, done: make(chan struct{}), kind: kind, text: text, line: wire + "\n", id: rand.Text()}
	switch {
	case kind == Action:
		l.line = "/me " + l.line
	case kind == Notice:
		l.line = "/notice " + l.line
	case kind == Topic:
		l.line = "/topic " + l.line
	case strings.HasPrefix(text, "/"):
		l.line = "/" + l.line
	}
	select {
	case r.window <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-r.ended.Done():
		return nil, r.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		<-r.window
		return nil, r.err
	}
	if r.wantedNick == "" {
		r.wantedNick = randomNick()
	}
	r.lines = append(r.lines, l)
	r.wake(r.writeReady)
	r.wake(r.answerWanted)
	return l, nil
}

// sanitize returns a text as it is sent. Bytes that the server replaces with U+FFFD, those that
// are not UTF-8 and control characters, become SUB, which means nothing to the server: they
// could be telnet, erase characters or end the line.
func sanitize(text string) string {
	const sub = 0x1a
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r < ' ' && r != '\t' || r == 0x7f {
			return sub
		}
		return r
	}, text)
}

// sameText reports whether got can be what the server made of sent: it may have replaced
// characters with U+FFFD.
func sameText(sent, got string) bool {
	for _, g := range got {
		s, n := utf8.DecodeRuneInString(sent)
		if n == 0 || g != s && g != utf8.RuneError {
			return false
		}
		sent = sent[n:]
	}
	return sent == ""
}

// matches reports whether an event can be this line.
func (l *Receipt) matches(ev *Event) bool {
	kind := ev.Type
	if ev.Notice {
		kind = Notice
	}
	return l.kind == kind && sameText(l.text, ev.Text)
}

// resolve sets the outcome of the line at an index and removes it from the list. mu is held.
func (r *Room) resolve(i int, seq uint64, err error) {
	l := r.lines[i]
	r.lines = slices.Delete(r.lines, i, i+1)
	l.seq, l.err = seq, err
	close(l.done)
	<-r.window
}

// abandon returns the outcome of a line that its caller does not wait for any longer.
func (r *Room) abandon(l *Receipt, why error) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.lines, l)
	switch {
	case i < 0:
		return l.seq, l.err
	case l.sentOn == 0 && l.seq == 0:
		r.resolve(i, 0, why)
		return 0, why
	case l.sentOn == 0:
		why = errors.Join(why, ErrOutcomeUnknown)
		r.resolve(i, 0, why)
		return 0, why
	}
	l.abandoned = true // if it has not arrived, it is not sent again
	return 0, errors.Join(why, ErrOutcomeUnknown)
}

// confirmEarlier confirms a line that was sent on an earlier connection. As the order is kept,
// the server has refused those before it. Lines whose ID tells, as the server knows IDs, are not
// among them. mu is held.
func (r *Room) confirmEarlier(ev *Event) {
	i := slices.IndexFunc(r.lines, func(l *Receipt) bool {
		return l.sentOn == 0 || l.seq == 0 && l.matches(ev)
	})
	if i < 0 || r.lines[i].sentOn == 0 {
		return
	}
	if l := r.lines[i]; !r.compared(l) {
		l.seq = ev.Seq // for a server without IDs, if one takes over before this one has told
		return
	}
	r.resolve(i, ev.Seq, nil)
	for i--; i >= 0; i-- {
		switch l := r.lines[i]; {
		case !r.compared(l):
		case l.seq != 0:
			r.resolve(i, l.seq, nil)
		default:
			r.resolve(i, 0, ErrRefused)
		}
	}
}

// compared reports whether the outcome of a line that was sent before is told by comparing the lines of
// its nick with it. mu is held.
func (r *Room) compared(l *Receipt) bool { return !l.withID || !r.takes.ids }

// send appends the line as it is sent now: with its ID, if the server has IDs and the line is not too
// long with it. mu is held.
func (l *Receipt) send(b []byte) []byte {
	const prefix = "/id "
	takes := l.room.takes
	l.withID = takes.ids && (takes.lineBytes == 0 || len(prefix)+len(l.id)+len(l.line) <= takes.lineBytes)
	if l.withID {
		b = append(append(append(b, prefix...), l.id...), ' ')
	}
	return append(b, l.line...)
}

// confirm confirms a line that was sent on this connection. mu is held.
func (r *Room) confirm(l *Receipt, seq uint64) {
	if i := slices.Index(r.lines, l); i >= 0 {
		r.resolve(i, seq, nil)
	}
}

// reject resolves a line that the server answered with an error. mu is held.
func (r *Room) reject(l *Receipt, f *frame) {
	if i := slices.Index(r.lines, l); i >= 0 {
		r.resolve(i, 0, &Error{Code: f.Code, Text: f.Text})
	}
}

// requeue is called when the member has its nick again: lines that were sent on an earlier
// connection and have not come will not come; those with an ID may come again. mu is held.
func (r *Room) requeue() {
	for i := 0; i < len(r.lines); {
		switch l := r.lines[i]; {
		case l.seq != 0 && r.compared(l):
			r.resolve(i, l.seq, nil)
		case l.sentOn != 0 && l.abandoned:
			r.resolve(i, 0, context.Canceled)
		default:
			l.sentOn = 0
			i++
		}
	}
}

// failAll resolves all lines with an error. mu is held.
func (r *Room) failAll(why error) {
	for len(r.lines) > 0 {
		err := why
		if l := r.lines[0]; l.sentOn != 0 || l.seq != 0 {
			err = errors.Join(why, ErrOutcomeUnknown)
		}
		r.resolve(0, 0, err)
	}
}
