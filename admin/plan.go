package admin

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// plan is what the operator has announced: the deletion of a room, or the stop
// of the server. It is kept in memory: a restart forgets it.
type plan struct {
	due  time.Time
	say  string
	what string // as the members are told: "this room is to be deleted"
	name string // as the operator is told instead of "this room"
	room uint64 // 0: the stop
	end  context.CancelFunc
}

// plans are those to come, one for each room at most. The zero value is ready.
type plans struct {
	mu     sync.Mutex
	all    map[uint64]*plan
	closed bool
	tasks  sync.WaitGroup // Add under mu, while not closed
}

// schedule announces a plan and carries it out when it is due, unless it is
// called off before. One for the same room is replaced.
func (s *Server) schedule(p *plan, in time.Duration, do func()) error {
	s.plans.mu.Lock()
	defer s.plans.mu.Unlock()
	if s.plans.closed {
		return refuse("shutting-down", "the server is stopping")
	}
	if old := s.plans.all[p.room]; old != nil {
		old.end()
	}
	if s.plans.all == nil {
		s.plans.all = make(map[uint64]*plan)
	}
	var ctx context.Context
	ctx, p.end = context.WithCancel(context.Background())
	p.due = time.Now().Add(in)
	s.plans.all[p.room] = p
	s.plans.tasks.Go(func() {
		defer p.end()
		if s.countDown(ctx, p, in) && s.plans.take(p) {
			do()
		}
	})
	return nil
}

// try does what is due. A fault in it is an error.
func (s *Server) try(line string, do func() error) (err error) {
	defer s.recovered(line, &err)
	return do()
}

// countDown tells the members what is to come, now and shortly before, and waits
// until it is due. It reports false if the plan is called off.
func (s *Server) countDown(ctx context.Context, p *plan, total time.Duration) bool {
	for left := total; ; {
		text := p.what + " in " + words(left)
		if p.say != "" {
			text += ": " + p.say
		}
		s.tell(p.room, text)
		left = nextMark(total, left)
		t := time.NewTimer(time.Until(p.due.Add(-left)))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
		if left == 0 {
			return true
		}
	}
}

// nextMark is how long before the end the members are told next; 0: not again.
func nextMark(total, left time.Duration) time.Duration {
	for _, m := range []time.Duration{24 * time.Hour, time.Hour, 10 * time.Minute, time.Minute, 10 * time.Second} {
		if m < left && m <= total/2 {
			return m
		}
	}
	if half := (total / 2).Truncate(time.Second); total < 20*time.Second && half > 0 && half < left {
		return half
	}
	return 0
}

// tell shows a notice in a room that may have gone, or in all of them for 0.
func (s *Server) tell(room uint64, text string) {
	name := ""
	if room != 0 {
		if name = s.Service.RoomName(room); name == "" {
			return
		}
	}
	_, _ = s.Service.Say(name, text) // it may have gone since
}

// take removes a plan that is due, and reports false if it has been called off.
func (q *plans) take(p *plan) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all[p.room] != p {
		return false
	}
	delete(q.all, p.room)
	return true
}

// of returns when a room is to be deleted, or the server to stop; zero: no plan.
func (q *plans) of(room uint64) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p := q.all[room]; p != nil {
		return p.due.UTC()
	}
	return time.Time{}
}

// callOff ends a plan without a word and returns it; nil: there was none.
func (s *Server) callOff(room uint64) *plan {
	s.plans.mu.Lock()
	defer s.plans.mu.Unlock()
	p := s.plans.all[room]
	if p != nil {
		delete(s.plans.all, room)
		p.end()
	}
	return p
}

// close calls everything off and waits for what is being carried out.
func (q *plans) close() {
	q.mu.Lock()
	q.closed = true
	for room, p := range q.all {
		delete(q.all, room)
		p.end()
	}
	q.mu.Unlock()
	q.tasks.Wait()
}

// words is a time as people say it in a sentence.
func words(d time.Duration) string {
	unit, name := time.Second, "second"
	switch {
	case d >= 48*time.Hour:
		unit, name = 24*time.Hour, "day"
	case d > 2*time.Hour || d >= time.Hour && d%time.Hour == 0:
		unit, name = time.Hour, "hour"
	case d > 2*time.Minute || d >= time.Minute && d%time.Minute == 0:
		unit, name = time.Minute, "minute"
	}
	return count(uint64(d.Round(unit)/unit), name)
}

// planned is the part of delete and stop that looks at --in and --cancel. done
// is false when neither was given.
func (c *call) planned(p *plan, do func() error) (done bool, err error) {
	in, err := c.duration("in")
	if err != nil {
		return true, err
	}
	if _, cancel := c.flags["cancel"]; cancel {
		due := c.plans.of(p.room)
		if due.IsZero() {
			return true, refuse("no-plan", "there is nothing to call off: no --in was given, or it is over")
		}
		if err := c.would("%s in %s: that would be called off", p.told(), words(time.Until(due))); err != nil {
			return true, err
		}
		if c.callOff(p.room) == nil {
			return true, refuse("no-plan", "it is too late to call it off")
		}
		c.tell(p.room, p.off())
		return true, c.out.text("%s", p.named(p.off()))
	}
	if in == 0 {
		return false, nil
	}
	p.say = c.flags["say"]
	who, line, srv, about := c.caller, c.line, c.Server, c.room()
	if err := srv.schedule(p, in, func() {
		err := srv.try(line, do)
		if err != nil { // they have been told that it is to come
			srv.tell(p.room, p.off())
			slog.New(srv.Log).Error("planned, and not done", "line", line, "error", err)
		}
		if p.room != 0 { // the stop is in the audit already
			_ = srv.record(who, about, line+whenDue, resultOf(err)) // the log has what the audit lacks
		}
	}); err != nil {
		return true, err
	}
	return true, c.out.text("%s in %s; %s --cancel calls it off", p.told(), words(in), c.cmd.name+c.about())
}

// whenDue marks in the audit that a plan was carried out.
const whenDue = " (when it was due)"

// told is a plan as the operator is told of it.
func (p *plan) told() string { return p.named(p.what) }

func (p *plan) named(text string) string { return strings.Replace(text, "this room", p.name, 1) }

// off is what its members are told when it is called off.
func (p *plan) off() string {
	if p.room == 0 {
		return "the stop of the server is called off"
	}
	return "the deletion of this room is called off"
}

// about is the room a command is about, as it stands in the line.
func (c *call) about() string {
	if len(c.args) == 0 {
		return ""
	}
	return " " + Join(c.args[:1])
}

var (
	inFlag     = flag{"in", "TIME", "after this time, like 60s; the members are told now and shortly before"}
	cancelFlag = flag{"cancel", "", "call off what was to be done in some time"}
)

// lasting is how a question says when something is to happen.
func (c *call) lasting() string {
	if in, err := c.duration("in"); err == nil && in > 0 {
		return fmt.Sprintf(" in %s", words(in))
	}
	return ""
}
