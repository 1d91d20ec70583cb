package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"roomd/store"
)

// plan is what an operator has announced. It is on disk: a restart and an upgrade go
// on with it.
type plan struct {
	store.Plan
	name   string // of the room, as the operator is told instead of "this room"
	cancel context.CancelFunc
}

// plans are those to come, one for each room at most, and the stop for room 0. The
// zero value is ready.
type plans struct {
	mu       sync.Mutex
	all      map[uint64]*plan
	loaded   []*plan         // by LoadPlans, for ResumePlans
	changing map[uint64]bool // the plan of the room is just being changed on disk
	closed   bool
	tasks    sync.WaitGroup // Add under mu, while not closed
}

// claim takes the plan of a room out, if there is one, so that it can be changed on
// disk: it is not carried out meanwhile. The caller must call settle.
func (q *plans) claim(room uint64) (old *plan, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, refuse("shutting-down", "the server is stopping")
	}
	if q.changing[room] {
		return nil, refuse("busy", "another command is changing this plan; try again in a moment")
	}
	if q.changing == nil {
		q.changing = make(map[uint64]bool)
	}
	q.changing[room] = true
	if old = q.all[room]; old != nil {
		delete(q.all, room)
		old.cancel()
	}
	return old, nil
}

// releasePlan ends claim, with the plan that holds from now on; nil: none.
func (s *Server) releasePlan(room uint64, p *plan, told bool) {
	s.plans.mu.Lock()
	defer s.plans.mu.Unlock()
	delete(s.plans.changing, room)
	if p != nil {
		s.startLocked(p, told)
	}
}

// schedule announces a plan, and carries it out when it is due, unless it is called
// off before. One for the same room is replaced.
func (s *Server) schedule(p *plan, in time.Duration) error {
	old, err := s.plans.claim(p.Room)
	if err != nil {
		return err
	}
	p.Announced = time.Now().UTC()
	p.Due = p.Announced.Add(in)
	if err := s.Store.SetPlan(p.Plan); err != nil {
		s.releasePlan(p.Room, old, true)
		if errors.Is(err, store.ErrNoRoom) {
			return refuse("no-room", "%s has just been deleted", p.name)
		}
		return refuse("refused", "the plan could not be saved: %v", err)
	}
	s.releasePlan(p.Room, p, false)
	return nil
}

// LoadPlans reads what was announced before this process began, so that it is shown
// and can be called off. ResumePlans waits for it.
func (s *Server) LoadPlans() error {
	kept, err := s.Store.Plans()
	if err != nil {
		return fmt.Errorf("read the plans: %w", err)
	}
	q := &s.plans
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = make(map[uint64]*plan)
	for _, k := range kept {
		p := &plan{Plan: k, cancel: func() {}}
		q.all[k.Room] = p
		q.loaded = append(q.loaded, p)
	}
	return nil
}

// ResumePlans goes on with what LoadPlans has read. tookOver says that another process
// served until now. A deletion whose time passed while the server was down is carried
// out; a stop is dropped: it was down.
func (s *Server) ResumePlans(tookOver bool) {
	q := &s.plans
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.loaded {
		switch {
		case q.all[p.Room] != p || q.closed: // it has been called off
		case p.Room == 0 && !tookOver && !time.Now().Before(p.Due):
			delete(q.all, 0)
			q.tasks.Go(func() { s.dropMissedStop(p) })
		default:
			s.startLocked(p, true)
		}
	}
	q.loaded = nil
}

// dropMissedStop forgets a stop whose time passed while the server was down.
func (s *Server) dropMissedStop(p *plan) {
	if err := s.Store.EndPlan(0); err != nil {
		slog.New(s.Log).Error("missed stop could not be removed from the database; the next start drops it", "error", err)
	}
	s.Record(p.caller(), p.Line, "not done: the server was down when it was due, "+durationInWords(time.Since(p.Due))+" ago")
}

// caller has announced the plan.
func (p *plan) caller() Caller { return Caller{p.UID, p.User, p.Door} }

// startLocked waits until a plan is due, and carries it out unless it is called off before.
// told says that its members know of it. mu is held.
func (s *Server) startLocked(p *plan, told bool) {
	if s.plans.closed {
		return
	}
	if s.plans.all == nil {
		s.plans.all = make(map[uint64]*plan)
	}
	s.plans.all[p.Room] = p
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	s.plans.tasks.Go(func() {
		defer p.cancel()
		if s.countDown(ctx, p, told) && s.plans.remove(p) {
			s.runPlan(p)
		}
	})
}

// runPlan carries out a plan, and tells the log and the audit, which has a deletion in
// one with it.
func (s *Server) runPlan(p *plan) {
	line, result := p.Line+dueSuffix, "done"
	if p.Room == 0 {
		s.beginStop(p.caller(), line)
		return
	}
	if late := time.Since(p.Due); late > lateAfter {
		result += ", " + durationInWords(late) + " late: the server was down"
	}
	name := s.Service.RoomName(p.Room)
	err := s.tryPlan(p.Line, func() error {
		if name == "" {
			return refuse("no-room", "the room does not exist any more")
		}
		return s.removeRoom(p.Room, name, "", p.Purge, p.caller().audit(line, result))
	})
	switch {
	case err == nil:
		s.note(p.caller(), name, line, result)
		return
	case s.plans.suspended(): // the next process does it
		return
	}
	slog.New(s.Log).Error("planned deletion has failed", "command", p.Line, "error", err)
	if failed := s.Store.EndPlan(p.Room); failed != nil {
		slog.New(s.Log).Error("failed plan could not be removed from the database; the next start tries it again", "command", p.Line, "error", failed)
	} else {
		s.notify(p.Room, p.cancelText()) // they have been told that it is to come
	}
	_ = s.record(p.caller(), name, line, err.Error()) // the log has what the audit lacks
}

// lateAfter is when a plan counts as late.
const lateAfter = 10 * time.Second

// tryPlan does what is due. A fault in it is an error.
func (s *Server) tryPlan(line string, do func() error) (err error) {
	defer s.recoverFault(line, &err)
	return do()
}

// countDown tells the members what is to come, now and shortly before, and waits
// until it is due. It reports false if the plan is called off.
func (s *Server) countDown(ctx context.Context, p *plan, told bool) bool {
	total := p.Due.Sub(p.Announced)
	left := total
	if told {
		left = nextNotice(total, max(0, time.Until(p.Due)))
	}
	for {
		select {
		case <-time.After(time.Until(p.Due.Add(-left))):
		case <-ctx.Done():
			return false
		}
		if left == 0 {
			return true
		}
		text := p.text() + " in " + durationInWords(left)
		if p.Say != "" {
			text += ": " + p.Say
		}
		s.notify(p.Room, text)
		left = nextNotice(total, left)
	}
}

// nextNotice is how long before the end the members are told next; 0: not again.
func nextNotice(total, left time.Duration) time.Duration {
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

// notify shows a notice in a room that may have gone, or in all of them for 0.
func (s *Server) notify(room uint64, text string) {
	name := ""
	if room != 0 {
		if name = s.Service.RoomName(room); name == "" {
			return
		}
	}
	_, _ = s.Service.Say(name, text) // it may have gone since
}

// remove removes a plan, and reports false if it has been called off or replaced.
func (q *plans) remove(p *plan) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all[p.Room] != p {
		return false
	}
	delete(q.all, p.Room)
	return true
}

// get is the plan of a room, or of the stop; nil: none.
func (q *plans) get(room uint64) *plan {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all[room]
}

// due returns when a room is to be deleted, or the server to stop; zero: no plan.
func (q *plans) due(room uint64) time.Time {
	if p := q.get(room); p != nil {
		return p.Due.UTC()
	}
	return time.Time{}
}

// forget ends a plan, if there is one, that is on disk no more: its room has been
// deleted since.
func (q *plans) forget(p *plan) {
	if p != nil && q.remove(p) {
		p.cancel()
	}
}

// suspended reports whether plans are left.
func (q *plans) suspended() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// SuspendPlans leaves the plans to the next process: it is called before the server stops,
// and once it was handed over.
func (s *Server) SuspendPlans() {
	q := &s.plans
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for room, p := range q.all {
		delete(q.all, room)
		p.cancel()
	}
}

// durationInWords is a time as people say it in a sentence.
func durationInWords(d time.Duration) string {
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

// schedulePlan is the part of delete and stop that looks at --in. done is false when it
// was not given.
func (c *call) schedulePlan(p *plan) (done bool, err error) {
	in := c.times["in"]
	if in == 0 {
		return false, nil
	}
	p.Say, p.Line = c.flags["say"], c.line
	p.UID, p.User, p.Door = c.caller.UID, c.caller.User, c.caller.Door
	if err := c.schedule(p, in); err != nil {
		return true, err
	}
	return true, c.out.text("%s in %s; %s --cancel cancels it", p.forOperator(p.text()), durationInWords(in), c.cmd.name+c.roomWord())
}

// cancelPlan ends what is planned for the room of p, or the stop.
func (c *call) cancelPlan(p *plan) error {
	due := c.plans.due(p.Room)
	if due.IsZero() {
		return refuse("no-plan", "there is no plan to cancel: no --in was given, or it was carried out")
	}
	if err := c.dryRun("%s in %s: this plan would be cancelled", p.forOperator(p.text()), durationInWords(time.Until(due))); err != nil {
		return err
	}
	old, err := c.plans.claim(p.Room)
	if err != nil {
		return err
	}
	if old == nil {
		c.releasePlan(p.Room, nil, true)
		return refuse("no-plan", "it is too late to cancel the plan: it is being carried out")
	}
	if err := c.Store.EndPlan(p.Room); err != nil {
		c.releasePlan(p.Room, old, true)
		return refuse("refused", "the plan is not cancelled: %v", err)
	}
	c.releasePlan(p.Room, nil, true)
	c.notify(p.Room, p.cancelText())
	return c.out.text("%s", p.forOperator(p.cancelText()))
}

// dueSuffix marks in the audit that a plan was carried out.
const dueSuffix = " (when it was due)"

// text is the plan as members are told.
func (p *plan) text() string { return p.choose("the server is to stop", "this room is to be deleted") }

// cancelText is the notice to members when the plan is cancelled.
func (p *plan) cancelText() string {
	return p.choose("the stop of the server is cancelled", "the deletion of this room is cancelled")
}

// choose returns the text for a stop or for the deletion of a room.
func (p *plan) choose(stop, deletion string) string {
	if p.Room == 0 {
		return stop
	}
	return deletion
}

// forOperator names the room in a text for members.
func (p *plan) forOperator(text string) string { return strings.Replace(text, "this room", p.name, 1) }

// roomWord is the room a command is about, as it stands in the line.
func (c *call) roomWord() string {
	if len(c.args) == 0 {
		return ""
	}
	return " " + Join(c.args[:1])
}

var (
	inFlag     = flag{"in", timeValue, "plan it after this time, like 60s; members are told now and shortly before"}
	cancelFlag = flag{name: "cancel", short: "cancel the plan"}
)

// inText is how a question says when something is to happen.
func (c *call) inText() string {
	if in := c.times["in"]; in > 0 {
		return fmt.Sprintf(" in %s", durationInWords(in))
	}
	return ""
}
