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

// plan is a planned deletion or a planned stop. It is on disk, so that it survives a restart
// and an upgrade.
type plan struct {
	store.Plan
	name   string // of the room; the operator is told the name, and members "this room"
	cancel context.CancelFunc
}

// plans holds the plans, at most one for each room, and the stop as that of room 0. The zero
// value is ready to use.
type plans struct {
	mu       sync.Mutex
	all      map[uint64]*plan
	loaded   []*plan         // by LoadPlans; ResumePlans starts them
	changing map[uint64]bool // rooms whose plan is being changed on disk
	closed   bool
	tasks    sync.WaitGroup // Add only with mu held and while not closed
}

// claim removes the plan of a room, if there is one, so that it cannot run while it is changed
// on disk. The caller must call releasePlan.
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

// releasePlan ends claim. p is the plan from now on; nil: none.
func (s *Server) releasePlan(room uint64, p *plan, announced bool) {
	s.plans.mu.Lock()
	defer s.plans.mu.Unlock()
	delete(s.plans.changing, room)
	if p != nil {
		s.startLocked(p, announced)
	}
}

// schedule stores a plan, which replaces another one for the same room, and starts it.
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

// LoadPlans reads the plans of earlier processes, so that commands can show and cancel them.
// ResumePlans starts them.
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

// ResumePlans starts the plans that LoadPlans has read. tookOver says that another process
// served until now. A deletion that was due while the server was down is carried out, a stop
// is dropped.
func (s *Server) ResumePlans(tookOver bool) {
	q := &s.plans
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.loaded {
		switch {
		case q.all[p.Room] != p || q.closed: // it was cancelled or replaced
		case p.Room == 0 && !tookOver && !time.Now().Before(p.Due):
			delete(q.all, 0)
			q.tasks.Go(func() { s.dropMissedStop(p) })
		default:
			s.startLocked(p, true)
		}
	}
	q.loaded = nil
}

// dropMissedStop removes a stop that was due while the server was down.
func (s *Server) dropMissedStop(p *plan) {
	if err := s.Store.EndPlan(0); err != nil {
		slog.New(s.Log).Error("missed stop could not be removed from the database; the next start drops it", "error", err)
	}
	s.Record(p.caller(), p.Line, "not done: the server was down when it was due, "+durationInWords(time.Since(p.Due))+" ago")
}

// caller is the user that made the plan.
func (p *plan) caller() Caller { return Caller{p.UID, p.User, p.Door} }

// startLocked starts the goroutine that waits until the plan is due and carries it out.
// announced says that members know of the plan already. mu is held.
func (s *Server) startLocked(p *plan, announced bool) {
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
		if s.countDown(ctx, p, announced) && s.plans.remove(p) {
			s.runPlan(p)
		}
	})
}

// runPlan carries out a plan and records it. The record of a deletion is in the same
// transaction.
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
	case s.plans.suspended(): // the next process carries it out
		return
	}
	slog.New(s.Log).Error("planned deletion has failed", "command", p.Line, "error", err)
	if failed := s.Store.EndPlan(p.Room); failed != nil {
		slog.New(s.Log).Error("failed plan could not be removed from the database; the next start tries it again", "command", p.Line, "error", failed)
	} else {
		s.notify(p.Room, p.cancelText()) // they were told of the plan
	}
	_ = s.record(p.caller(), name, line, err.Error()) // the log has the failure even if the audit has not
}

// lateAfter is how long after its time a deletion counts as late.
const lateAfter = 10 * time.Second

// tryPlan calls do. A panic becomes an error.
func (s *Server) tryPlan(line string, do func() error) (err error) {
	defer s.recoverFault(line, &err)
	return do()
}

// countDown notifies the members now and shortly before the time of the plan, and returns when
// it is due. It returns false if the plan was cancelled.
func (s *Server) countDown(ctx context.Context, p *plan, announced bool) bool {
	total := p.Due.Sub(p.Announced)
	left := total
	if announced {
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

// nextNotice returns how long before the end members are notified next; 0: not again.
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

// notify sends a notice to a room, if it still exists, or to all rooms for 0.
func (s *Server) notify(room uint64, text string) {
	name := ""
	if room != 0 {
		if name = s.Service.RoomName(room); name == "" {
			return
		}
	}
	_, _ = s.Service.Say(name, text) // the room may have been deleted meanwhile
}

// remove removes a plan. It returns false if the plan was cancelled or replaced.
func (q *plans) remove(p *plan) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all[p.Room] != p {
		return false
	}
	delete(q.all, p.Room)
	return true
}

// get returns the plan of a room, or for 0 the stop; nil: there is none.
func (q *plans) get(room uint64) *plan {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all[room]
}

// due returns the time of a plan; zero: there is none.
func (q *plans) due(room uint64) time.Time {
	if p := q.get(room); p != nil {
		return p.Due.UTC()
	}
	return time.Time{}
}

// forget ends a plan whose record was deleted with its room. p may be nil.
func (q *plans) forget(p *plan) {
	if p != nil && q.remove(p) {
		p.cancel()
	}
}

// suspended reports whether SuspendPlans was called.
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

// durationInWords returns a duration for a sentence: "5 minutes".
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

// schedulePlan schedules p if the command has --in; done says so.
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

// cancelPlan cancels the plan for the room of p, or the stop.
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

// dueSuffix marks in the audit the commands that plans carried out.
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

// roomWord returns the room of the command as it stands in the line.
func (c *call) roomWord() string {
	if len(c.args) == 0 {
		return ""
	}
	return " " + Join(c.args[:1])
}

var (
	inFlag     = flag{"in", timeValue, "plan it for this time from now, like 60s, and notify members"}
	cancelFlag = flag{name: "cancel", short: "cancel the plan"}
)

// inText says in a question when the command will be carried out.
func (c *call) inText() string {
	if in := c.times["in"]; in > 0 {
		return fmt.Sprintf(" in %s", durationInWords(in))
	}
	return ""
}
