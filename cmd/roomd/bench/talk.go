package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// load is a run in which publishers speak and everybody listens.
type load struct {
	shape   Shape
	server  Server
	proto   protocol
	loop    *loop
	streams []*stream
	members []*member

	publishers []*publisher
	unflushed  []*conn // have something to send

	unjoined int  // members that have not joined
	closing  bool // connections may end

	publishing     bool
	sent           uint64
	deliveries     uint64
	lateDeliveries uint64        // deliveries to members that had stopped
	measuredFrom   time.Duration // lines that were due before do not count in times
	times          histogram

	nextDue       time.Duration // when the next line is due, at a fixed rate
	nextPublisher int           // whose it is
}

// Run does the work and measures it. The error is nil if the work was done and
// nothing was lost, doubled or out of order; else the result says so too.
func Run(ctx context.Context, server Server, shape Shape) (Result, error) {
	r := Result{Server: server.Protocol, Shape: shape}
	err := run(ctx, server, shape, &r)
	if err != nil {
		r.Fault = err.Error()
	}
	return r, err
}

func run(ctx context.Context, server Server, shape Shape, r *Result) (err error) {
	if err := shape.check(); err != nil {
		return err
	}
	proto, err := protocolOf(server.Protocol)
	if err != nil {
		return err
	}
	if server.PID == 0 {
		server.PID = listenerOf(server.Address)
	}
	if err := ensureDescriptors(shape.Rooms*(shape.Members+shape.Publishers) + shape.InFlight + 100); err != nil {
		return err
	}
	l, err := newLoop()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rooms, remove, err := makeRooms(server, proto, shape.Rooms+shape.Silent)
	if err != nil {
		return err
	}
	t := &load{shape: shape, server: server, proto: proto, loop: l}
	defer func() {
		t.closing = true
		for _, m := range t.members {
			l.closeConn(&m.conn)
		}
		err = errors.Join(err, remove())
	}()
	var before int64
	if shape.Kind == Idle {
		if before, err = t.stableMemory(ctx, shape.Settle); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := t.join(ctx, rooms[:shape.Rooms]); err != nil {
		return err
	}
	r.Joining = time.Since(began)
	switch shape.Kind {
	case Idle:
		return t.measureIdle(ctx, before, r)
	case Churn:
		return (&churn{load: t}).run(ctx, rooms, r)
	case Comeback:
		return t.comeback(ctx, r)
	case History:
		return t.turnHistory(ctx, r)
	}
	return t.measure(ctx, r)
}

// arrived counts a message that a member has got.
func (t *load) arrived(m *member, k message) {
	if m.stopped {
		t.lateDeliveries++
		return
	}
	t.deliveries++
	if k.due >= t.measuredFrom {
		t.times.add(t.loop.now() - k.due)
	}
	if p := m.publisher; p != nil && int(k.publisher) == p.id {
		p.inFlight--
		if t.shape.Kind != Latency {
			t.fillWindow(p)
		}
	}
}

// fillWindow has a publisher say as many lines as it may have in flight.
func (t *load) fillWindow(p *publisher) {
	for t.publishing && p.inFlight < t.shape.InFlight {
		t.publish(p, t.loop.now())
	}
}

// publish has a publisher say its next line.
func (t *load) publish(p *publisher, due time.Duration) {
	if len(p.conn.out) == 0 {
		t.unflushed = append(t.unflushed, p.conn)
	}
	p.sent++
	p.inFlight++
	p.dues[p.sent%uint64(len(p.dues))] = due
	putNumber(p.payload[idDigits+1:], p.sent)
	p.conn.out = t.proto.publish(p.conn.out, p.stream.room.name, p.payload)
	t.sent++
	if t.shape.Lines > 0 && t.sent == t.shape.Lines {
		t.publishing = false
	}
}

// flushDue says what is due, sends, and returns how long nothing will be due.
func (t *load) flushDue() (time.Duration, error) {
	wait := time.Second
	if t.shape.Kind == Latency && t.publishing {
		step := time.Duration(float64(time.Second) / t.shape.Rate)
		now := t.loop.now()
		for ; t.nextDue <= now && t.publishing; t.nextDue += step {
			t.publish(t.publishers[t.nextPublisher], t.nextDue)
			t.nextPublisher = (t.nextPublisher + 1) % len(t.publishers)
		}
		wait = max(t.nextDue-t.loop.now(), 0)
	}
	for _, c := range t.unflushed {
		if err := t.loop.flush(c); err != nil {
			return 0, err
		}
	}
	t.unflushed = t.unflushed[:0]
	return wait, nil
}

// measure has the publishers speak, and checks that everybody got everything.
func (t *load) measure(ctx context.Context, r *Result) error {
	if own := t.server.Process; own != nil && own.Protocol == "roomd" {
		before, err := own.meter()
		if err != nil {
			return err
		}
		r.Durability = own.Durability
		defer func() {
			if after, err := own.meter(); err == nil {
				r.Commits, r.Commit, r.Commit99, r.Disk = after.since(before)
			}
		}()
	}
	for _, s := range t.streams {
		left := t.shape.Stopped
		for _, m := range s.members {
			if m.publisher == nil && left > 0 {
				m.stopped = true
				t.loop.poll.remove(m.fd, m.conn.id)
				left--
			}
		}
	}
	t.nextDue = t.loop.now()
	lines := t.shape.Lines
	if t.shape.WarmUp > 0 { // whose lines do not count
		t.shape.Lines = 0
	}
	t.startPublishing()
	over := func(d time.Duration) func() bool {
		end := time.Now().Add(d)
		return func() bool { return !t.publishing || time.Now().After(end) }
	}
	if t.shape.WarmUp > 0 {
		if err := t.loop.runUntil(ctx, math.MaxInt64, "", over(t.shape.WarmUp), t.flushDue); err != nil {
			return err
		}
	}
	sent, got := uint64(0), t.deliveries // what was said to begin with counts
	if t.shape.WarmUp > 0 {
		sent, t.measuredFrom = t.sent, t.loop.now()
		if lines > 0 {
			t.shape.Lines = t.sent + lines
		}
	}
	end := t.startMeasuring()
	if err := t.loop.runUntil(ctx, math.MaxInt64, "", over(t.shape.Duration), t.flushDue); err != nil {
		return err
	}
	t.publishing = false
	if err := t.awaitLast(ctx, "the last lines"); err != nil {
		return err
	}
	r.LoadCores = end(r)
	r.Resident, _ = residentBytes(t.server.PID) // 0 if it is not to be seen
	r.setLines(t.sent-sent, t.deliveries-got)
	r.Quantiles = t.times.quantiles()
	if t.shape.Stopped > 0 {
		return t.resumeStopped(ctx, r)
	}
	return nil
}

// startMeasuring begins to measure. end says what the server has used since, and returns how much
// of a processor this tool has.
func (t *load) startMeasuring() (end func(*Result) (loadCores float64)) {
	began, cpu, mine := time.Now(), t.serverCPU(), mustCPU(os.Getpid())
	return func(r *Result) float64 {
		r.Took, r.CPU = time.Since(began), t.serverCPU()-cpu
		r.Cores = float64(r.CPU) / float64(r.Took)
		return float64(mustCPU(os.Getpid())-mine) / float64(r.Took)
	}
}

// startPublishing has the publishers begin.
func (t *load) startPublishing() {
	t.publishing = true
	for _, p := range t.publishers {
		if t.shape.Kind != Latency { // else idle says when
			t.fillWindow(p)
		}
	}
}

// awaitLast waits until everybody has got what was said.
func (t *load) awaitLast(ctx context.Context, what string) error {
	if err := t.loop.runUntil(ctx, t.shape.Patience, what, t.complete, t.flushDue); err != nil {
		return errors.Join(err, t.missing())
	}
	return nil
}

// setLines is how many lines there were, and what each has cost.
func (r *Result) setLines(lines, deliveries uint64) {
	r.Lines, r.Deliveries = lines, deliveries
	r.PerLine, r.PerDelivery = microseconds(r.CPU)/float64(lines), microseconds(r.CPU)/float64(deliveries)
}

// serverCPU is what the server has used; 0 if that is not to be seen.
func (t *load) serverCPU() time.Duration { return mustCPU(t.server.PID) }

func mustCPU(pid int) time.Duration {
	if pid == 0 {
		return 0
	}
	d, err := cpuTime(pid)
	if err != nil {
		return 0
	}
	return d
}

func microseconds(d time.Duration) float64 { return float64(d) / 1e3 }

// complete reports whether every member has got every line.
// But those that have stopped.
func (t *load) complete() bool { return t.deliveries == t.sent*uint64(t.shape.Members-t.shape.Stopped) }

// resumeStopped has those that stopped read on, and waits until they have everything.
func (t *load) resumeStopped(ctx context.Context, r *Result) error {
	began := time.Now()
	for _, m := range t.members {
		if m.stopped {
			if err := t.loop.poll.add(m.fd, m.conn.id, false); err != nil {
				return err
			}
		}
	}
	done := func() bool { return t.lateDeliveries == t.sent*uint64(t.shape.Stopped) }
	if err := t.loop.runUntil(ctx, t.shape.Patience, "what was missed meanwhile", done, nil); err != nil {
		return errors.Join(err, t.missing())
	}
	r.CaughtUp = time.Since(began)
	return nil
}

// missing says who has not got everything.
func (t *load) missing() error {
	for _, s := range t.streams {
		var sent uint64
		for _, p := range s.publishers {
			sent += p.sent
		}
		for _, m := range s.members {
			if uint64(m.messages) < sent {
				return faultf("%v got %d of %d lines", m, m.messages, sent)
			}
		}
	}
	return fmt.Errorf("nothing is missing")
}
