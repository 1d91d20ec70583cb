package irc

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/history"
	"roomd/netsvc/wire"
)

var historyCommands = map[string]command{"CHATHISTORY": {do: (*client).doHistory, cost: line}}

// roomCost is what CHATHISTORY TARGETS costs for each room.
const roomCost = line / 32

// doHistory answers a request of CHATHISTORY, which reads from the disk and so always waits. The
// lines are a replay in the stream of the member, behind what was in the room before, and in place
// with what comes. The end of the batch is behind what was in all rooms.
//
// A page by msgid is exact. A client that pages by time knows only milliseconds, and takes a page
// with fewer lines than it has asked for as the last: so a page by timestamp, or the LATEST one, is
// longer where it would end inside a millisecond. Without event-playback topics are left out, and
// do not count.
func (c *client) doHistory(m *Message) bool {
	r, err := parseHistory(m.Params)
	if err == nil && (!c.wait || !c.AwaitLines(true)) {
		return false
	}
	if err == nil {
		err = c.history(&r)
	}
	var failed *Failure
	switch {
	case errors.Is(err, netsvc.ErrWait):
		return false
	case errors.As(err, &failed):
		c.fail(failed)
	case err != nil:
		c.fail(r.messageError())
	}
	return true
}

func (c *client) history(r *historyRequest) error {
	if r.command == "TARGETS" {
		return c.historyTargets(r)
	}
	name, isRoom := roomName(r.target)
	n, err := wire.ParseName(name)
	k := c.In(n.Key)
	if !isRoom || err != nil || k == nil {
		return r.invalidTarget()
	}
	for _, s := range []selector{r.from, r.to} {
		if s.seq > 0 && s.room != k.Room().ID {
			return historyFailure(codeInvalidParams, "No line of that room has that msgid", r.command, r.target)
		}
	}
	s, err := c.findHistory(k, r)
	if err != nil {
		return err
	}
	p := Playback{Clock: c.caps.Enabled.level() == noTags, Topics: c.has(capEventPlayback)}
	header, footer := []byte(nil), []byte(nil)
	if c.has(capBatch) {
		p.Batch = c.batchRef()
		header, footer = c.batch(p.Batch, "chathistory", string(chanType)+k.Room().Name)
	}
	if s.Count > 0 {
		k.Queue(netsvc.Part{Replay: &netsvc.Replay{After: s.After, Upto: s.Upto, Header: string(header), Label: p.label()}})
	} else {
		k.Queue(netsvc.Part{Bytes: header})
	}
	if len(footer) > 0 {
		c.Answer(footer)
	}
	return nil
}

// batch returns the lines around the whole answer to the line at hand. They have its label.
func (c *client) batch(ref string, params ...string) (header, footer []byte) {
	host := c.server.host()
	if label := c.takeLabel(); label != "" {
		header = appendTag(nil, "label", label)
	}
	return appendLine(header, host, "BATCH", append([]string{"+" + ref}, params...)...), appendLine(nil, host, "BATCH", "-"+ref)
}

// findHistory finds the lines that a request is for.
func (c *client) findHistory(k *netsvc.Member, r *historyRequest) (history.Span, error) {
	f := finder{history: k.History(), newest: k.Newest()}
	f.window.NoTopics, f.window.WholeMillis = !c.has(capEventPlayback), r.from.seq == 0
	switch r.command {
	case "LATEST":
		return f.last(f.after(r.from), f.newest, r.limit)
	case "BEFORE":
		return f.last(0, f.before(r.from), r.limit)
	case "AFTER":
		return f.first(f.after(r.from), f.newest, r.limit)
	case "AROUND":
		return f.around(r.from, r.limit)
	}
	if after, upto := f.after(r.from), f.before(r.to); after < upto {
		return f.first(after, upto, r.limit)
	}
	return f.last(f.after(r.to), f.before(r.from), r.limit) // BETWEEN a later line and an earlier one
}

// finder finds lines of a room.
type finder struct {
	history *history.History
	newest  uint64         // line of the room
	window  history.Window // what all its requests have in common
	err     error          // the first one of olderThan
}

// before returns the number up to which lines are before a selector.
func (f *finder) before(s selector) uint64 {
	if s.seq > 0 {
		return min(f.newest, s.seq-1)
	}
	return f.olderThan(s.time.Add(time.Millisecond - 1).Truncate(time.Millisecond))
}

// after returns the number behind which lines are after a selector.
func (f *finder) after(s selector) uint64 {
	switch {
	case s.any:
		return 0
	case s.seq > 0:
		return s.seq
	}
	return f.olderThan(s.time.Truncate(time.Millisecond).Add(time.Millisecond))
}

func (f *finder) olderThan(t time.Time) uint64 {
	seq, err := f.history.NewestBefore(t)
	f.err = cmp.Or(f.err, err)
	return min(f.newest, seq)
}

// first finds the oldest n lines of a range.
func (f *finder) first(after, upto uint64, n int) (history.Span, error) {
	return f.find(after, upto, n, false)
}

// last finds the newest n lines of a range.
func (f *finder) last(after, upto uint64, n int) (history.Span, error) {
	return f.find(after, upto, n, true)
}

func (f *finder) find(after, upto uint64, n int, newest bool) (history.Span, error) {
	if f.err != nil || n == 0 {
		return history.Span{}, f.err
	}
	w := f.window
	w.After, w.Upto, w.N, w.Newest = after, upto, n, newest
	return f.history.Range(w)
}

// around finds the line of a selector, or the first one from its time on, with as many lines before
// it as behind it, as far as there are any.
func (f *finder) around(s selector, n int) (history.Span, error) {
	middle := f.before(s)
	behind, err := f.first(middle, f.newest, n-n/2)
	if err != nil {
		return behind, err
	}
	ahead, err := f.last(0, middle, n-behind.Count)
	if err == nil && ahead.Count < n/2 {
		behind, err = f.first(middle, f.newest, n-ahead.Count)
	}
	switch {
	case behind.Count == 0:
		return ahead, err
	case ahead.Count == 0:
		return behind, err
	}
	return history.Span{After: ahead.After, Upto: behind.Upto, Count: ahead.Count + behind.Count}, err
}

// target is a room with the time of its newest line.
type target struct {
	room string
	time time.Time
}

// historyTargets answers CHATHISTORY TARGETS: the client's rooms whose newest lines are between two
// times. As with lines, the list does not end inside a millisecond.
func (c *client) historyTargets(r *historyRequest) error {
	from, to := r.from.time, r.to.time
	backward := to.Before(from)
	if backward {
		from, to = to, from
	}
	var all []target
	for _, k := range c.Members() {
		if !c.AwaitTurn(roomCost, true) {
			return netsvc.ErrWait
		}
		s, err := k.History().Range(history.Window{Upto: k.Newest(), N: 1, Newest: true, NoTopics: !c.has(capEventPlayback)})
		if err != nil {
			return err
		}
		if t := s.Newest.Truncate(time.Millisecond); s.Count > 0 && t.After(from) && t.Before(to) {
			all = append(all, target{string(chanType) + k.Room().Name, t})
		}
	}
	slices.SortFunc(all, func(a, b target) int {
		if backward {
			a, b = b, a
		}
		if d := a.time.Compare(b.time); d != 0 {
			return d
		}
		return strings.Compare(a.room, b.room)
	})
	ref, header, footer := "", []byte(nil), []byte(nil)
	if c.has(capBatch) {
		ref = c.batchRef()
		header, footer = c.batch(ref, "draft/chathistory-targets")
	}
	c.out = append(c.out, header...)
	for i, t := range all {
		if i >= r.limit && !t.time.Equal(all[i-1].time) {
			break
		}
		if ref != "" {
			c.out = appendTag(c.out, "batch", ref)
		}
		c.send(c.server.host(), "CHATHISTORY", "TARGETS", t.room, string(appendServerTime(nil, t.time)))
	}
	c.out = append(c.out, footer...)
	return nil
}
