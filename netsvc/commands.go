package netsvc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"weak"

	"roomd/netsvc/history"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
	"roomd/store"
)

// handleLine handles one line, and returns the cause of the member's end, or "". Without wait it
// returns false if the line has to wait; with it, if the server is to be suspended first. The
// caller then keeps the line, and calls again with wait. The caller has the read lock.
func (s *lineSession) handleLine(line []byte, over int, wait bool) (c Cause, ok bool) {
	m := &s.member
	unheard := s.is(isGone)
	if over == 0 && wire.IsBlank(line) {
		price := emptyLine
		if line == nil {
			price = 1 // see nextLine
		}
		if (!unheard || line == nil) && !s.awaitTurn(maxInFlight, price, wait) {
			return "", wait && m.hasEnded()
		}
		m.room.svc.counters.blank.Add(1)
		return "", true
	}
	if !s.begun {
		s.begun = true
		if p := wire.DetectProtocol(line, over > 0); p != "" {
			m.room.svc.counters.foreignConns.add(p)
			return CauseForeign, true
		}
	}
	isText := over == 0 && (s.raw || !isCommand(line))
	if unheard && s.hasNoEffect(line, over, isText) {
		return "", true
	}
	flying := 1 // the answer comes behind the lines that the member said before
	if isText && m.activeMute() == nil && !m.room.settings.Load().ReadOnly || over == 0 && wire.HasID(line) {
		flying = maxInFlight
	}
	price := 1.0
	if !isText && over == 0 {
		work := m.commandCost(line)
		if work > 0 && !wait {
			return "", false // too slow for an event loop
		}
		price += work
	}
	if !s.awaitTurn(flying, price, wait) || !s.awaitAddressTurn(price-1) {
		return "", wait && m.hasEnded()
	}
	if s.raw && over == 0 {
		return "", m.submit(store.Message, m.room.svc.counters.clean(line), "", nil, wait)
	}
	own, ok := m.perform(line, over, wait)
	switch own.Do {
	case wire.Nick:
		m.Fail(own.Name, m.rename(own.Name, own.Text))
	case wire.Raw:
		s.raw = true
		m.ok(own.Name, "from now on every line is text, commands too")
	case wire.Quit:
		m.ok(own.Name, "bye")
		return CauseLeft, true
	}
	return "", ok
}

// perform carries out a line that is paid for, and answers it. A command that concerns the whole
// session (Nick, Raw, Quit) is returned to it instead; else Do is 0. Without wait it returns false if
// the store has no room for the line now. The caller has the read lock.
func (m *Member) perform(line []byte, over int, wait bool) (own wire.Command, ok bool) {
	svc := m.room.svc
	if over > 0 {
		svc.counters.tooLong.Add(1)
		m.answer(wire.Event{Type: wire.TypeError, Command: "say", Code: wire.CodeTooLong, Text: fmt.Sprintf(
			wire.NotSent+"the line has %d bytes, the limit is %d", over, svc.opts().LineBytes)})
		return own, true
	}
	cmd, err := wire.ParseCommand(svc.counters.clean(line))
	if err == nil {
		switch cmd.Do {
		case wire.Nick, wire.Raw, wire.Quit:
			return cmd, true
		}
		err = m.execute(cmd, wait)
	}
	if errors.Is(err, errWait) {
		return own, false
	}
	m.answerError(cmd.Name, cmd.ID, err)
	return own, true
}

// answerError answers a command that has failed, nil: it has not, and that may have an ID.
func (m *Member) answerError(command, id string, err error) {
	var refusal *wire.Error
	switch {
	case err == nil:
	case errors.As(err, &refusal):
		m.answer(wire.Event{Type: wire.TypeError, Command: command, ID: id, Code: refusal.Code, Text: refusal.Text})
	default:
		m.room.svc.log.Error("command failed", "room", m.room.name(), "remote", m.out.remote, "command", command, "error", err)
		m.answer(wire.Event{Type: wire.TypeError, Command: command, ID: id, Code: wire.CodeInternal, Text: "the server could not do that"})
	}
}

// Handle handles a line that the client says in the member's room, as the room's port does. A command
// that concerns the session is returned to it, unanswered (Nick, Raw, Quit); else Do is 0. It is for
// Protocol.Line, after AwaitTurn(m.Cost(line, over)): see there for over, wait and ok.
func (m *Member) Handle(line []byte, over int, wait bool) (own wire.Command, ok bool) {
	flying := maxInFlight
	if over > 0 || isCommand(line) && !wire.HasID(line) {
		flying = 1 // the answer comes behind the lines that the member said before
	}
	switch ok, ended := m.withinBounds(flying); {
	case ended:
		return own, true
	case !ok && !wait:
		return own, false
	case !ok && !m.awaitBounds(flying):
		return own, m.hasEnded()
	}
	return m.perform(line, over, wait)
}

// Cost is what a line of the member costs: 1 is that of a message. A line that costs more is for a caller
// that may wait.
func (m *Member) Cost(line []byte, over int) float64 {
	if over > 0 || !isCommand(line) {
		return 1
	}
	return 1 + m.commandCost(line)
}

// isCommand reports whether a line that is not blank is a command, and no text.
func isCommand(line []byte) bool { return line[0] == '/' && (len(line) == 1 || line[1] != '/') }

// Ok answers a command that the session has carried out.
func (m *Member) Ok(command, text string) { m.ok(command, text) }

// Fail answers a command that the session could not carry out. An error other than a *wire.Error is
// logged, and the client is told of a fault of the server.
func (m *Member) Fail(command string, err error) { m.answerError(command, "", err) }

// hasNoEffect reports whether a line has no effect but an answer. A client that is gone does not
// get the answer, so the line costs nothing.
func (s *lineSession) hasNoEffect(line []byte, over int, isText bool) bool {
	if over > 0 {
		return true
	}
	if isText {
		return s.member.activeMute() != nil || s.member.room.settings.Load().ReadOnly
	}
	c, _ := wire.ParseCommand(string(line)) // an error has no effect
	switch c.Do {
	case wire.Say, wire.Me, wire.SendNotice, wire.Nick, wire.Msg, wire.Raw, wire.Quit:
		return false
	case wire.SetTopic:
		return c.Text == ""
	}
	return true
}

var errWait = errors.New("the store has no room for the line now")

// execute carries out a command of one room. Every command has exactly one answer. It returns errWait
// if a line has to wait and wait is false.
func (m *Member) execute(c wire.Command, wait bool) error {
	said := true
	switch c.Do {
	case wire.Say:
		said = m.submit(store.Message, c.Text, c.ID, nil, wait)
	case wire.Me:
		said = m.submit(store.Action, c.Text, c.ID, nil, wait)
	case wire.SendNotice:
		said = m.submit(store.Notice, c.Text, c.ID, nil, wait)
	case wire.SetTopic:
		if c.Text == "" {
			m.ok(c.Name, m.showTopic())
			return nil
		}
		said = m.submit(store.Topic, c.Text, c.ID, nil, wait)
	case wire.Msg:
		return m.whisper(c.To, c.Text)
	case wire.Who:
		m.queueRoster(0)
	case wire.History, wire.Before:
		n := c.N
		if n < 0 {
			n = m.room.replayLines()
		}
		m.queue(insert{kind: earlier, n: n, seq: c.Seq})
	case wire.Search:
		m.queue(insert{kind: search, bytes: []byte(wire.Fold(c.Text))})
	case wire.Since:
		m.queue(insert{kind: since, seq: c.Seq})
	case wire.JSON:
		m.readFormat(roomlog.JSON)
		m.ok(c.Name, "")
	case wire.Echo:
		m.mu.Lock()
		m.hideOwn = !c.On
		m.mu.Unlock()
		if c.On {
			m.ok(c.Name, "your own lines are shown to you")
		} else {
			m.ok(c.Name, "your own lines are not shown to you")
		}
	case wire.Ping:
		m.queue(insert{kind: pong})
	case wire.Pass:
		if m.room.password.Load() == nil {
			m.ok(c.Name, "this room has no password")
		} else {
			m.ok(c.Name, "you are in already")
		}
	case wire.Help:
		m.help(c.Name)
	default:
		return fmt.Errorf("no code for /%s", c.Name)
	}
	if !said {
		return errWait
	}
	return nil
}

// ok answers a command.
func (m *Member) ok(command, text string) { m.answer(okFor(command, text)) }

func okFor(command, text string) wire.Event {
	return wire.Event{Type: wire.TypeOK, Command: command, Text: text}
}

// answer queues events for this member alone, behind everything in the log. The caller has the
// read lock or holds Room.mu.
func (m *Member) answer(evs ...wire.Event) {
	var b []byte
	for _, ev := range evs {
		b = m.room.svc.formats[m.reads].Render(b, m.place(), ev)
	}
	m.queue(insert{kind: answer, bytes: b})
}

// queue appends an insert behind everything in the log.
func (m *Member) queue(ins insert) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended || m.drained {
		return
	}
	ins.at = m.room.log.End()
	m.insertLocked(ins)
}

func (m *Member) showTopic() string {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	if m.room.topic == "" {
		return "no topic is set; /topic TEXT sets it"
	}
	return "topic: " + m.room.topic
}

// rename gives the member another nick, unless another member has it.
func (m *Member) rename(command, nick string) error {
	n, err := wire.ParseNick(nick)
	r, old := m.room, m.nick
	elsewhere := r.otherRoomsWith(old.Key, n.Key)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case m.cause != "":
		return nil
	case old.Shown == nick: // also a guest's
		m.ok(command, "you are "+nick)
		return nil
	case err != nil:
		return err
	}
	if err := m.mayTakeNick(n); err != nil {
		return err
	}
	r.releaseNick(m)
	r.claimNick(m, n)
	r.roster = weak.Pointer[roster]{}
	// All members see the event; in text it is the answer, too. Before the join is
	// announced no other member has seen the old nick.
	ev := wire.Event{Type: wire.TypeNick, From: old.Shown, Nick: n.Shown}
	if m.unannounced.Load() {
		ev.Time = time.Now()
		m.answer(ev)
	} else {
		r.announceRename(ev, elsewhere)
		r.svc.Publish(Event{Type: "nick", Room: r.name(), Member: old.Shown, Remote: m.out.remote.String(), Text: n.Shown})
	}
	m.ok(command, "")
	return nil
}

// whisper sends a line to one member. Both see it; it is not stored.
func (m *Member) whisper(to, text string) error { return m.whisperTo(to, text, false, true) }

// whisperTo is whisper, and may send a notice. With echo false the sender gets no answer but an error.
func (m *Member) whisperTo(to, text string, notice, echo bool) error {
	n, err := wire.ParseName(to)
	if err != nil {
		return err
	}
	if b := m.activeMute(); b != nil {
		return wire.Errorf(wire.CodeDenied, wire.NotSent+"%s", muteText(b))
	}
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	other := r.nicks[n.Key]
	if other == nil {
		return wire.Errorf(wire.CodeNoMember, "nobody here is called %s; /who lists the members", n.Shown)
	}
	ev := wire.Event{Time: time.Now(), Type: wire.TypePrivate, Notice: notice, From: m.nick.Shown, To: other.nick.Shown, Text: text}
	r.announceJoin(m)
	if other != m {
		other.mu.Lock()
		takes := other.acceptsInsertLocked()
		other.mu.Unlock()
		if !takes {
			return wire.Errorf(wire.CodeBusy, "%s does not read at the moment; try again later", other.nick.Shown)
		}
		other.answer(ev)
		r.wake()
	}
	if echo {
		m.answer(ev)
		m.ok("msg", "")
	}
	return nil
}

// readFormat switches the stream to a format from this position on. Appends take Room.mu, too, so
// every later event is rendered in it.
func (m *Member) readFormat(f roomlog.Format) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.reads == f || m.cause != "" {
		return
	}
	r.reads.of[m.reads]--
	m.reads = f
	r.reads.of[m.reads]++
	if f == roomlog.JSON {
		m.queue(insert{kind: toJSON})
	} else {
		m.queue(insert{kind: toFormat, n: int(f)})
	}
}

func (m *Member) help(command string) {
	lines := wire.CommandHelp()
	if !m.room.svc.formats[m.reads].ForPeople() {
		m.ok(command, strings.Join(lines, "\n"))
		return
	}
	evs := make([]wire.Event, len(lines))
	for i, l := range lines {
		evs[i] = wire.Event{Type: wire.TypeNotice, Text: l}
	}
	m.answer(evs...)
}

// beginHistory renders the first line of earlier lines. The lines follow as a replay.
func (m *Member) beginHistory(ins insert) {
	r := m.room
	command, upto := "history", m.cursor.Seq
	if ins.seq > 0 {
		command, upto = "before", min(upto, ins.seq-1)
	}
	after, count, err := r.history(m.fromDisk).Newest(upto, ins.n)
	switch {
	case errors.Is(err, errAborted):
		return
	case errors.Is(err, errMustWait): // again when the server resumes
		m.mu.Lock()
		m.inserts = slices.Insert(m.inserts, 0, ins)
		m.room.svc.insertBytes.Add(int64(ins.size()))
		m.mu.Unlock()
		return
	case err != nil:
		m.historyFailed(err)
		return
	}
	if ins.kind == earlier {
		ev := okFor(command, "no earlier lines")
		ev.Count = &count
		m.addStreamInfo(&ev)
		if count > 0 {
			ev.Text = plural(count, "earlier line")
		}
		m.render(ev)
	} else if count > 0 && ins.replay == nil {
		m.render(wire.Event{Type: wire.TypeNotice, Text: plural(count, "earlier line")})
	}
	if count == 0 {
		return
	}
	m.replay = &replay{after: after, upto: upto}
	if p := ins.replay; p != nil {
		m.replay.footer, m.replay.label = p.footer, p.label
		m.out.unsent = append(m.out.unsent, p.header...)
	} else if m.room.svc.formats[m.format].ForPeople() {
		m.replay.footer = wire.Notice("end of earlier lines")
	}
}

// beginSince renders the answer to /since. A replay of the lines after seq, up to the cursor,
// follows it, and then the new lines of the room.
func (m *Member) beginSince(seq uint64) {
	ev := okFor("since", fmt.Sprintf("everything after %d; the newest is %d", seq, m.cursor.Seq))
	m.addStreamInfo(&ev)
	if st, err := m.room.svc.store.Stat(m.room.id); err == nil && st.Removed > seq {
		ev.Oldest = st.Removed + 1
		ev.Text += fmt.Sprintf("; lines before %d are no longer kept", ev.Oldest)
	}
	if seq > m.cursor.Seq {
		ev.Text = fmt.Sprintf("nothing is newer than %d: the newest is %d", seq, m.cursor.Seq)
	}
	m.render(ev)
	m.replay = &replay{after: seq, upto: m.cursor.Seq}
}

// addStreamInfo adds what a client needs to resume the stream, and to speak.
func (m *Member) addStreamInfo(ev *wire.Event) {
	ev.Newest, ev.RoomID, ev.Epoch = m.cursor.Seq, m.room.identity.Room, m.room.identity.Epoch
	ev.LineBytes = m.room.svc.opts().LineBytes
}

// history returns the room's history, for one who is not charged.
func (r *Room) history(turn func(read func()) error) *history.History {
	return &history.History{Store: r.svc.store, Room: r.id, Turn: turn}
}

// historyUntil is history, and reading it ends with ctx. It is of the lines up to upto.
func (s *Service) historyUntil(ctx context.Context, name string) (h *history.History, upto uint64, err error) {
	r, err := s.room(name)
	if err != nil {
		return nil, 0, err
	}
	return r.history(func(read func()) error { return s.fromDisk(ctx, read) }), r.log.End().Seq, nil
}

// Lines returns the newest n lines of a room with after < Seq. Damaged blocks are skipped and
// counted. It ends with ctx.
func (s *Service) Lines(ctx context.Context, name string, after uint64, n int) (all []store.Line, damaged int, err error) {
	h, upto, err := s.historyUntil(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	return h.Lines(after, upto, n)
}

// Search finds the lines of a room whose text or sender contains the text, ignoring case, and
// returns the newest n of them. With an error it returns what it has found so far. It ends with
// ctx.
func (s *Service) Search(ctx context.Context, name, text string, since time.Time, n int) (history.Found, error) {
	h, upto, err := s.historyUntil(ctx, name)
	if err != nil {
		return history.Found{}, err
	}
	return h.Search(upto, text, since, n)
}

// fromDisk calls read, which reads a page of lines, or as many blocks as the store counts at a
// time. Few goroutines read at once, each for one piece: no one waits behind a member or an
// operator that reads much, and the database can reuse its pages in between. When ctx is done
// nothing is read.
func (s *Service) fromDisk(ctx context.Context, read func()) error {
	select {
	case s.diskReaders <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.diskReaders }()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.counters.pages.Add(1)
	read()
	return nil
}

// UntilStop returns a context that ends with ctx, and when the server begins to stop, so that slow
// work does not delay the stop. end releases it.
func (s *Service) UntilStop(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.stop, func() {
		cancel(wire.Errorf(wire.CodeShuttingDown, "the server is stopping"))
	})
	return ctx, func() { stop(); cancel(nil) }
}
