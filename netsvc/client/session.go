package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	firstPause     = 100 * time.Millisecond // at most, before the first try to reconnect
	lastPause      = 30 * time.Second       // at most, between tries
	nickPause      = time.Second            // between tries to get the nick back
	greetTime      = 30 * time.Second       // from connecting to the answer to the first commands
	idleTime       = 30 * time.Second       // until an idle server is pinged, and then until it has to answer
	maxFrame       = 1 << 20                // bytes of a line from the server
	maxAnswerLines = 1 << 20
	idBytes        = 26 // of rand.Text; the server takes IDs with as many letters and digits as unique
)

// run keeps the room connected until it has ended. It reports the first connection; if that
// fails there is no other.
func (r *Room) run(first chan<- error) {
	joined := false
	for tries := 0; ; tries++ {
		err := r.connect(func() {
			if !joined {
				joined = true
				first <- nil
			}
		})
		var refusal *Error
		switch {
		case r.ended.Err() != nil:
			return
		case !joined:
			first <- err
			return
		case errors.As(err, &refusal) && refusal.Code == NoRoom:
			r.mu.Lock()
			r.putStatus(Deleted, refusal.Text)
			r.mu.Unlock()
			fallthrough
		case errors.Is(err, ErrDeleted):
			r.end(ErrDeleted)
			return
		case refusal != nil && refusal.final:
			r.end(refusal)
			return
		}
		r.mu.Lock()
		if r.live {
			tries = 0 // this try has succeeded
		}
		r.live = false
		r.mu.Unlock()
		pause := min(firstPause<<min(tries, 20), lastPause)
		if refusal != nil && refusal.Code == Kicked {
			pause = lastPause // the operator does not want the member back at once
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-r.ended.Done():
			return
		}
	}
}

// session is one connection of a room.
type session struct {
	room   *Room
	addr   string
	conn   net.Conn
	raw    net.Conn // beneath TLS
	ctx    context.Context
	cancel context.CancelCauseFunc

	// Owned by read.
	lastNotice string // the text of the last line, if that was a notice or came before JSON
	lastCode   string // the code of that notice

	// Guarded by Room.mu.
	greeted       bool // the port has named the room
	passwordAsked bool
	passwordSent  bool
	pending       []item // written and not answered, in order
	collecting    *call  // the lines after its answer are coming
	synced        bool   // the stream has begun
	claiming      bool   // the answer to /nick has not come
	claimAt       time.Time
	refusals      int
	failure       error  // an answer that ends the connection
	nick          string // as the stream says
}

// item is a line or a call: one of the two is set.
type item struct {
	line *Receipt
	call *call
}

// connect makes a connection, keeps it, and returns why it ended.
func (r *Room) connect(joined func()) error {
	name, port, err := r.client.find(r.ended, r.name)
	if err != nil {
		return err
	}
	addr := net.JoinHostPort(r.client.host, strconv.Itoa(port))
	conn, raw, err := r.client.dial(r.ended, addr)
	if err != nil {
		return err
	}
	s := &session{room: r, addr: addr, conn: conn, raw: raw}
	s.ctx, s.cancel = context.WithCancelCause(r.ended)
	r.mu.Lock()
	r.name = name
	r.connNumber++
	r.currentNick, r.dropping, r.live, r.replayed = "", true, false, 0
	s.start(joined)
	r.mu.Unlock()
	late := time.AfterFunc(greetTime, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case !s.greeted:
			s.cancel(fmt.Errorf("%s does not greet as a room does", addr))
		case !s.synced:
			s.cancel(errors.New("the server does not answer"))
		}
	})
	var tasks sync.WaitGroup
	tasks.Go(func() { s.cancel(s.write()) })
	tasks.Go(func() { s.cancel(s.read()) })
	<-s.ctx.Done()
	s.close()
	tasks.Wait()
	late.Stop()
	err = context.Cause(s.ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.currentNick = ""
	for _, it := range s.pending {
		if it.call != nil {
			r.answered(it.call, ErrOutcomeUnknown)
		}
	}
	if s.collecting != nil {
		r.answered(s.collecting, ErrOutcomeUnknown)
	}
	if s.synced && r.err == nil && !errors.Is(err, ErrDeleted) {
		why := err
		var op *net.OpError
		if errors.As(err, &op) {
			why = op.Err // without the addresses
		}
		ev := Event{Type: Offline, Time: time.Now().UTC(), Text: why.Error()}
		if refusal := (*Error)(nil); errors.As(err, &refusal) {
			ev.Code = refusal.Code
		}
		r.put(ev)
	}
	return err
}

// close closes the connection. If a line may have been sent in part the connection is reset:
// otherwise the server would take the part for a line.
func (s *session) close() {
	s.room.mu.Lock()
	clean := s.room.err != nil && !s.room.writing
	s.room.mu.Unlock()
	if clean {
		s.conn.Close()
		return
	}
	if l, ok := s.raw.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	s.raw.Close()
}

// start queues the commands that begin the stream. Room.mu is held.
func (s *session) start(joined func()) {
	r := s.room
	s.queueCall(&call{line: "/json\n", command: "json"})
	if !r.begun && r.wantedNick != "" {
		// There is no line to be confirmed yet, and a new member has to know at once whether
		// the nick is free.
		s.claimNick()
	}
	from := r.options.From
	command, asked := "since", uint64(math.MaxUint64) // no line comes after this number, but an answer
	switch {
	case r.begun:
		asked = r.newestDelivered
	case from.kind == 'a':
		asked = from.n
	case from.kind == 'n':
		command, asked = "history", from.n
	}
	s.queueCall(&call{line: fmt.Sprintf("/%s %d\n", command, asked), command: command, handle: func(f *frame) {
		if f.Type == typeError {
			s.failure = &Error{Code: f.Code, Text: f.Text}
			return
		}
		if err := r.checkHistory(f, asked); err != nil {
			s.failure = err
			return
		}
		s.synced = true
		r.wake(r.writeReady) // lines may follow
		if r.begun {
			r.putStatus(Online, "")
			r.beginReplay(f, asked)
		} else {
			r.begun, r.dropping = true, false
			r.newestSeen = f.Newest
			switch from.kind {
			case 'a':
				r.newestDelivered = asked
				r.beginReplay(f, asked)
			case 0:
				r.newestDelivered = f.Newest
			}
			r.history = historyOf(f)
		}
		joined()
	}})
	r.queueLive()
}

// queueLive queues a ping, whose answer says that a replay is complete. mu is held.
func (r *Room) queueLive() {
	r.calls = append(r.calls, &call{line: "/ping\n", command: "ping", handle: func(*frame) {
		if !r.dropping { // else another replay follows
			r.live = true
			r.put(Event{Type: Live, Time: time.Now().UTC(), Count: r.replayed})
		}
	}})
}

// replayDropped asks for the events that were dropped. mu is held.
func (r *Room) replayDropped() {
	asked := r.newestDelivered
	r.calls = append(r.calls, &call{line: fmt.Sprintf("/since %d\n", asked), command: "since", handle: func(f *frame) { r.beginReplay(f, asked) }})
	if !r.live {
		r.queueLive()
	}
	r.wake(r.writeReady)
}

// historyOf is the history that an answer names; nil: none.
func historyOf(f *frame) *history {
	const longest = 64 // programs save these words
	for _, w := range []string{f.RoomID, f.Epoch} {
		if w == "" || len(w) > longest || strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' || r >= utf8.RuneSelf-1 }) {
			return nil
		}
	}
	return &history{f.RoomID, f.Epoch}
}

// checkHistory returns an error if From is strict and the history is another one. mu is held.
func (r *Room) checkHistory(f *frame, asked uint64) error {
	r.takes = accepted{f.LineBytes, f.IDBytes >= idBytes}
	from, was, is := r.options.From, r.history, historyOf(f)
	if !r.begun {
		was = from.history
	}
	text := ""
	switch {
	case !from.strict:
	case was != nil && is != nil && was.roomID != is.roomID:
		text = fmt.Sprintf("the place is one in another room's history, and not in that of %s", r.name)
	case !was.matches(is):
		text = fmt.Sprintf("the history of %s is another one than it was: a backup was put back, or lines were imported", r.name)
	case (r.begun || from.kind == 'a') && f.Type == typeOK && f.Newest < asked:
		text = fmt.Sprintf("the newest line of %s is %d, and it was %d: the history was put back, or the room made again", r.name, f.Newest, asked)
	}
	if text == "" {
		return nil
	}
	return &Error{Code: WrongHistory, Text: text, final: true}
}

// beginReplay begins the replay after the line asked. mu is held.
func (r *Room) beginReplay(f *frame, asked uint64) {
	r.dropping = false
	was := r.history
	if is := historyOf(f); is != nil {
		r.history = is
	}
	switch {
	case f.Type == typeError:
		r.putStatus(Gap, f.Text)
	case f.Oldest > 0 && asked > 0:
		r.putStatus(Gap, fmt.Sprintf("lines between %d and %d are no longer kept", asked, f.Oldest))
	case f.Newest < asked:
		r.putStatus(Gap, fmt.Sprintf("the newest line is %d, and it was %d: the history was put back, or the room was made again", f.Newest, asked))
		r.newestDelivered, r.newestSeen = f.Newest, f.Newest
	case !was.matches(r.history):
		r.putStatus(Gap, "the history is another one than it was: a backup was put back, or lines were imported")
	}
}

// queueCall queues a call that no caller waits for. Room.mu is held.
func (s *session) queueCall(c *call) { s.room.calls = append(s.room.calls, c) }

// claimNick asks for the nick. Room.mu is held.
func (s *session) claimNick() {
	r, nick, first := s.room, s.room.wantedNick, !s.room.begun
	s.claiming = true
	s.queueCall(&call{line: "/nick " + nick + "\n", command: "nick", handle: func(f *frame) {
		s.claiming = false
		switch {
		case f.Type == typeOK:
			if r.currentNick = nick; r.wantedNick == nick {
				r.requeue()
			}
		case first:
			s.failure = &Error{Code: f.Code, Text: f.Text}
		default:
			s.claimAt = time.Now().Add(nickPause)
			// At first our own old connection has it, most likely.
			if s.refusals++; s.refusals == 2 {
				r.putStatus(Notice, "waiting for the nick "+nick+": "+f.Text)
			}
		}
		r.wake(r.writeReady)
	}})
}

// write writes commands and lines until the connection ends.
func (s *session) write() error {
	r := s.room
	for {
		b, wait := s.collect()
		if len(b) == 0 {
			select {
			case <-r.writeReady:
			case <-time.After(wait):
			case <-s.ctx.Done():
				return s.ctx.Err()
			}
			continue
		}
		_, err := s.conn.Write(b)
		r.mu.Lock()
		r.writing = err != nil
		r.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// collect returns the commands and lines that may be sent now: lines once the member has its
// nick, and before the greeting only a password that the room has asked for. If there are
// none, collect says after what time to call it again.
func (s *session) collect() (b []byte, wait time.Duration) {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	wait = time.Hour
	if s.synced && r.wantedNick != "" && r.currentNick != r.wantedNick && !s.claiming && r.renames == 0 {
		if wait = time.Until(s.claimAt); wait <= 0 {
			s.claimNick()
		}
	}
	if !s.greeted {
		if s.passwordAsked && !s.passwordSent {
			s.passwordSent, r.writing = true, true
			b = append(b, "/pass "+r.options.Password+"\n"...)
		}
		return b, wait
	}
	for _, c := range r.calls {
		b = append(b, c.line...)
		s.pending = append(s.pending, item{call: c})
	}
	r.calls = nil
	if s.synced && r.currentNick == r.wantedNick && r.wantedNick != "" && r.renames == 0 {
		for _, l := range r.lines {
			if l.sentOn == 0 {
				l.sentOn = r.connNumber
				b = l.send(b)
				s.pending = append(s.pending, item{line: l})
			}
		}
	}
	r.writing = len(b) > 0
	return b, wait
}

// Read reads from the connection. It pings a server that has been silent for long.
func (s *session) Read(p []byte) (int, error) {
	for asked := false; ; asked = true {
		s.conn.SetReadDeadline(time.Now().Add(idleTime))
		n, err := s.conn.Read(p)
		var timeout net.Error
		if n > 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
			return n, err
		}
		if asked {
			return 0, errors.New("the server is silent")
		}
		s.room.mu.Lock()
		s.queueCall(&call{line: "/ping\n", command: "ping"})
		s.room.mu.Unlock()
		s.room.wake(s.room.writeReady)
	}
}

// read handles the server's lines and returns why they ended.
func (s *session) read() error {
	in := bufio.NewReaderSize(s, 64<<10)
	isJSON := false
	for {
		line, err := readLine(in)
		switch {
		case err != nil && s.lastCode == Kicked:
			return &Error{Code: Kicked, Text: s.lastNotice}
		case errors.Is(err, io.EOF) && s.lastNotice != "":
			return closedByServer(s.lastNotice) // the last line says why
		case errors.Is(err, io.EOF):
			return errServerClosed
		case err != nil:
			return err
		}
		if isJSON = isJSON || s.greeted && bytes.HasPrefix(line, []byte("{")); !isJSON {
			if err := s.handleGreeting(string(line)); err != nil {
				return err
			}
			continue
		}
		var f frame
		if err := json.Unmarshal(line, &f); err != nil {
			return fmt.Errorf("the server does not speak JSON: %w", err)
		}
		if err := s.handle(&f); err != nil {
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
