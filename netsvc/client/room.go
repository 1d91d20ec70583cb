package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// JoinOptions say how a room is joined.
type JoinOptions struct {
	// Nick is the member's nick. If another member has it, Join fails with the code Exists.
	// Empty: the guest's nick that the server gives, and a random one from the first line on.
	Nick string
	// Password of the room, if it has one.
	Password string
	// From is where the stream of events begins.
	From From
	// Window is how many lines may be on their way at a time; 0: 64.
	Window int
}

// Room is a member in a room. It outlives its connections.
type Room struct {
	// Set by Join, then read-only.
	client  *Client
	name    string
	options JoinOptions
	ended   context.Context // done when the room has ended for good
	finish  context.CancelFunc
	task    sync.WaitGroup
	window  chan struct{} // a slot for each line on its way

	// Of capacity 1.
	writeReady   chan struct{} // a command or a line is to be written
	eventReady   chan struct{} // there is an event, or the room has ended
	answerWanted chan struct{} // a caller waits: reading must not wait until events are taken
	spaceFree    chan struct{} // events were taken

	mu         sync.Mutex
	err        error // why it has ended
	lines      []*Receipt
	calls      []*call // not written yet
	unanswered int     // calls of callers that are not answered yet
	renames    int     // those of them that change the nick: no line is sent meanwhile

	connNumber  int    // the number of the connection
	wantedNick  string // empty: any
	currentNick string // on this connection
	guestNick   string // given by the server

	history *history // that the stream is of; nil: not known
	takes   accepted

	stream
	writing bool // a Write is under way
}

const (
	maxEvents     = 1024     // more wait at the server
	maxEventBytes = 16 << 20 // of waiting events while a caller waits for an answer
)

// accepted is what the server takes, as it has said at the beginning of the stream.
type accepted struct {
	lineBytes int  // the longest line; 0: not known
	ids       bool // IDs of lines, as long as ours
}

// call is a command and its answer.
type call struct {
	line    string       // as it is sent, with its line end
	command string       // that the answer names
	handle  func(*frame) // handles the answer; Room.mu is held
	missing int          // lines after the answer that have not come yet
	lines   []frame      // lines that have come
	err     error
	done    chan struct{} // closed when all lines have come; nil: no caller waits
}

// Join joins a room. ctx bounds only the joining: the member stays until Close, or until the
// room ends.
func (c *Client) Join(ctx context.Context, name string, o JoinOptions) (*Room, error) {
	o.Window = cmp.Or(max(o.Window, 0), 64)
	r := &Room{
		client: c, name: name, options: o, wantedNick: o.Nick,
		window: make(chan struct{}, o.Window), writeReady: make(chan struct{}, 1), eventReady: make(chan struct{}, 1),
		answerWanted: make(chan struct{}, 1), spaceFree: make(chan struct{}, 1),
	}
	r.ended, r.finish = context.WithCancel(context.Background())
	first := make(chan error, 1)
	r.task.Go(func() { r.run(first) })
	select {
	case err := <-first:
		if err != nil {
			r.Close()
			return nil, err
		}
		return r, nil
	case <-ctx.Done():
		r.Close()
		return nil, context.Cause(ctx)
	}
}

// Close leaves the room. It does not wait for lines that are on their way.
func (r *Room) Close() error {
	r.end(ErrClosed)
	r.task.Wait()
	return nil
}

// end ends the room. Only the first call counts.
func (r *Room) end(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	r.err = why
	r.failAll(why)
	for _, c := range r.calls {
		r.answered(c, why)
	}
	r.calls = nil
	r.finish()
	r.wake(r.eventReady)
}

// Err is why the room has ended; nil: it has not. It is ErrDeleted, ErrClosed, or an *Error: of
// the code Denied if the room's password was changed, of WrongHistory as From.Strict says.
func (r *Room) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Name is the room's name, as the server spells it.
func (r *Room) Name() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.name
}

// Nick is the member's nick: the one that it has, or will have when the connection is back.
func (r *Room) Nick() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(r.wantedNick, r.guestNick)
}

// LineBytes is the longest line that the server takes, in bytes; 0: the server has not said. A
// text that begins with "/" needs one byte more.
func (r *Room) LineBytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takes.lineBytes
}

// Next returns the next event, or an error when ctx is done, or when the room has ended and all
// its events were taken.
func (r *Room) Next(ctx context.Context) (Event, error) {
	for {
		r.mu.Lock()
		if len(r.events) > 0 {
			ev := r.events[0]
			r.events = r.events[1:]
			r.eventBytes -= len(ev.Text)
			if len(r.events) == 0 {
				r.events = nil
				if r.dropping && r.begun {
					r.replayDropped()
				}
			}
			r.wake(r.spaceFree)
			r.wakeIf(len(r.events) > 0, r.eventReady)
			r.mu.Unlock()
			return ev, nil
		}
		err := r.err
		r.mu.Unlock()
		if err != nil {
			r.wake(r.eventReady) // for other callers
			return Event{}, err
		}
		select {
		case <-r.eventReady:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// Events returns the events until ctx is done or the room has ended: see Err.
func (r *Room) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			ev, err := r.Next(ctx)
			if err != nil || !yield(ev) {
				return
			}
		}
	}
}

// Rename takes another nick. If another member has it the error is an *Error of the code
// Exists. While the connection is broken Rename waits.
func (r *Room) Rename(ctx context.Context, nick string) error {
	if strings.ContainsAny(nick, " \t\r\n") || nick == "" {
		return &Error{Code: BadName, Text: fmt.Sprintf("%q cannot be a name", nick)}
	}
	_, err := r.ask(ctx, "/nick "+nick, func(f *frame) {
		if f.Type != typeOK {
			return
		}
		if r.currentNick != r.wantedNick {
			// The outcome of lines without an ID could only be known with the old nick.
			for i := len(r.lines) - 1; i >= 0; i-- {
				if l := r.lines[i]; l.sentOn != 0 && r.compared(l) {
					r.resolve(i, 0, ErrOutcomeUnknown)
				}
			}
			r.requeue()
		}
		r.currentNick, r.wantedNick = nick, nick
	})
	return err
}

// Members returns the members of the room, those that joined first at the beginning.
func (r *Room) Members(ctx context.Context) ([]Member, error) {
	frames, err := r.ask(ctx, "/who", nil)
	var all []Member
	for _, f := range frames {
		all = append(all, Member{f.Nick, f.Since, f.Door})
	}
	return all, err
}

// History returns the newest n stored lines.
func (r *Room) History(ctx context.Context, n int) ([]Event, error) {
	frames, err := r.ask(ctx, fmt.Sprintf("/history %d", max(n, 1)), nil)
	return events(frames), err
}

// Before returns the n stored lines before a sequence number, the oldest first, for going back page
// by page: the Seq of the first one leads to the next page. There are fewer if no more are kept.
func (r *Room) Before(ctx context.Context, seq uint64, n int) ([]Event, error) {
	frames, err := r.ask(ctx, fmt.Sprintf("/before %d %d", max(seq, 1), max(n, 1)), nil)
	return events(frames), err
}

// Search returns the newest lines, 50 at most and the oldest first, that contain a text or whose
// sender does, ignoring case. The server charges it by the length of the history. A server that
// does not know it refuses it: *Error of the code BadRequest.
func (r *Room) Search(ctx context.Context, text string) ([]Event, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, ErrBlank
	case strings.ContainsAny(text, "\r\n"):
		return nil, ErrMultiline
	}
	frames, err := r.ask(ctx, "/search "+sanitize(text), nil)
	return events(frames), err
}

// events returns the events of lines behind an answer.
func events(frames []frame) []Event {
	var all []Event
	for _, f := range frames {
		all = append(all, f.Event)
	}
	return all
}

// SendPrivate sends a line to one member alone. The line is not stored. If the connection
// breaks meanwhile the error is ErrOutcomeUnknown.
func (r *Room) SendPrivate(ctx context.Context, nick, text string) error {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return ErrBlank
	case strings.ContainsAny(nick+text, "\r\n"):
		return ErrMultiline
	}
	_, err := r.ask(ctx, "/msg "+nick+" "+text, nil)
	return err
}

// ask sends a command and returns the lines after its answer. When the connection breaks the
// command is sent again, but for /msg.
func (r *Room) ask(ctx context.Context, line string, then func(*frame)) ([]frame, error) {
	command, _, _ := strings.Cut(line[1:], " ")
	for {
		c := &call{line: line + "\n", command: command, done: make(chan struct{})}
		c.handle = func(f *frame) {
			if f.Type == typeError {
				c.err = &Error{Code: f.Code, Text: f.Text}
			}
			switch command {
			case "who", "history", "before", "search":
				c.missing = f.Count
			}
			if then != nil {
				then(f)
			}
		}
		r.mu.Lock()
		if r.err != nil {
			defer r.mu.Unlock()
			return nil, r.err
		}
		r.calls = append(r.calls, c)
		r.unanswered++
		if command == "nick" {
			r.renames++
		}
		r.wake(r.writeReady)
		r.wake(r.answerWanted)
		r.mu.Unlock()
		select {
		case <-c.done:
		case <-ctx.Done():
			r.mu.Lock()
			defer r.mu.Unlock()
			if i := slices.Index(r.calls, c); i >= 0 {
				r.calls = slices.Delete(r.calls, i, i+1)
				r.answered(c, context.Cause(ctx))
			}
			return nil, context.Cause(ctx)
		}
		if errors.Is(c.err, ErrOutcomeUnknown) && command != "msg" {
			continue // the connection broke
		}
		return c.lines, c.err
	}
}

// answered ends a call. mu is held.
func (r *Room) answered(c *call, err error) {
	if c.done == nil {
		return
	}
	c.err = cmp.Or(c.err, err)
	close(c.done)
	r.unanswered--
	if c.command == "nick" {
		r.renames--
		r.wake(r.writeReady)
	}
}

func (r *Room) wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *Room) wakeIf(yes bool, c chan struct{}) {
	if yes {
		r.wake(c)
	}
}

// put appends an event for Next. mu is held.
func (r *Room) put(ev Event) {
	ev.history = r.history
	r.events = append(r.events, ev)
	r.eventBytes += len(ev.Text)
	r.wake(r.eventReady)
}

// randomNick is a nick that no other member has.
func randomNick() string { return "roomd-" + strings.ToLower(rand.Text()[:10]) }

// putStatus appends an event of this package. mu is held.
func (r *Room) putStatus(t Type, text string) {
	r.put(Event{Type: t, Time: time.Now().UTC(), Text: text})
}
