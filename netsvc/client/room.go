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
	// Nick is the member's name. Joining fails with the code Exists if
	// somebody else has it. Empty: the server's name for a guest, until the
	// first line is sent.
	Nick string
	// Password of the room, if it has one.
	Password string
	// From is where the stream of events begins.
	From From
	// Window is how many lines may be on their way at a time. 0: 64.
	Window int
}

// Room is a membership that outlives its connections.
type Room struct {
	// Set by Join, then read-only.
	client  *Client
	name    string
	options JoinOptions
	ended   context.Context // done when the room has ended for good
	finish  context.CancelFunc
	task    sync.WaitGroup
	window  chan struct{} // a slot for each line on its way

	// Each has room for one word.
	writeReady   chan struct{} // there is something to write
	eventReady   chan struct{} // there is an event, or the room has ended
	answerWanted chan struct{} // the events must not be waited for: somebody wants an answer
	spaceFree    chan struct{} // events were taken

	mu         sync.Mutex
	err        error // why it has ended
	lines      []*Receipt
	calls      []*call // not written
	unanswered int     // calls of others that are not answered
	renames    int     // those of them that change the nick: nothing is said meanwhile

	connNumber  int    // the number of the connection
	wantedNick  string // the nick that the member is to have; empty: any
	currentNick string // that it has on this connection
	guestNick   string // that the server gave it

	history   *history // whose numbers the stream has; nil: not known
	lineBytes int      // the longest line that the server takes; 0: not known

	stream
	writing bool // a Write is under way
}

const (
	maxEvents     = 1024     // that wait before the server has to
	maxEventBytes = 16 << 20 // bytes that wait while somebody waits for an answer
)

// call is a command and its answer.
type call struct {
	line    string       // as it goes out, with its end
	command string       // the word that the answer bears
	handle  func(*frame) // takes the answer; Room.mu is held
	missing int          // lines that follow the answer
	lines   []frame      // those that came
	err     error
	done    chan struct{} // closed when all has come; nil: nobody waits
}

// Join makes a member of a room and returns when it is one. ctx bounds the
// joining; what ends the membership is Close, or the room's end.
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

// end ends the room, once.
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

// Err is why the room has ended; nil: it has not. It is ErrDeleted, ErrClosed,
// or an *Error: of the code Denied if its password is another one by now, of
// WrongHistory as From.Strict says.
func (r *Room) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Name is the room's name as it is spelt.
func (r *Room) Name() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.name
}

// Nick is the member's name: the one that it has, or is to have again when the
// connection is back.
func (r *Room) Nick() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(r.wantedNick, r.guestNick)
}

// LineBytes is the size of the longest line that the server takes, in bytes; 0:
// it does not say. A text that begins with "/" needs one more.
func (r *Room) LineBytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lineBytes
}

// Next returns the next event, or an error when ctx is done or the room has
// ended and all its events were taken.
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
			r.wake(r.eventReady) // for others that wait
			return Event{}, err
		}
		select {
		case <-r.eventReady:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// Events returns the events until ctx is done or the room has ended; Err tells.
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

// Rename takes another nick. The error is an *Error of the code Exists if
// somebody has it. While the connection is away it waits.
func (r *Room) Rename(ctx context.Context, nick string) error {
	if strings.ContainsAny(nick, " \t\r\n") || nick == "" {
		return &Error{Code: BadName, Text: fmt.Sprintf("%q cannot be a name", nick)}
	}
	_, err := r.ask(ctx, "/nick "+nick, func(f *frame) {
		if f.Type != typeOK {
			return
		}
		if r.currentNick != r.wantedNick {
			// Without the old nick nobody can say what became of these.
			for len(r.lines) > 0 && r.lines[0].sentOn != 0 {
				r.resolve(0, 0, ErrOutcomeUnknown)
			}
		}
		r.currentNick, r.wantedNick = nick, nick
	})
	return err
}

// Members returns who is here, those who came first at the top.
func (r *Room) Members(ctx context.Context) ([]Member, error) {
	frames, err := r.ask(ctx, "/who", nil)
	var all []Member
	for _, f := range frames {
		all = append(all, Member{f.Nick, f.Since})
	}
	return all, err
}

// History returns the newest n stored lines as they are now.
func (r *Room) History(ctx context.Context, n int) ([]Event, error) {
	frames, err := r.ask(ctx, fmt.Sprintf("/history %d", max(n, 1)), nil)
	var all []Event
	for _, f := range frames {
		all = append(all, f.Event)
	}
	return all, err
}

// SendPrivate says a line to one member alone. It is not stored. If the connection
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

// ask carries out a command and returns the lines that follow its answer. What
// only asks is asked again when the connection breaks.
func (r *Room) ask(ctx context.Context, line string, then func(*frame)) ([]frame, error) {
	command, _, _ := strings.Cut(line[1:], " ")
	for {
		c := &call{line: line + "\n", command: command, done: make(chan struct{})}
		c.handle = func(f *frame) {
			if f.Type == typeError {
				c.err = &Error{Code: f.Code, Text: f.Text}
			}
			if command == "who" || command == "history" {
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

// put hands an event on. mu is held.
func (r *Room) put(ev Event) {
	ev.history = r.history
	r.events = append(r.events, ev)
	r.eventBytes += len(ev.Text)
	r.wake(r.eventReady)
}

// randomNick is a nick that nobody else would have.
func randomNick() string { return "roomd-" + strings.ToLower(rand.Text()[:10]) }

// putStatus hands on what this package says. mu is held.
func (r *Room) putStatus(t Type, text string) {
	r.put(Event{Type: t, Time: time.Now().UTC(), Text: text})
}
