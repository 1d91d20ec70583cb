package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// load is a run in which publishers send lines and all members get them.
type load struct {
	shape     Shape
	server    Server
	proto     protocol
	loop      *loop
	audiences []*audience

	members    []*member
	publishers []*publisher
	unflushed  []*conn // have something to send

	unjoined int  // members that have not joined
	outside  int  // members that have not entered: it is the same but in a dialogue
	closing  bool // connections may end

	publishing     bool
	limit          uint64 // publishing ends with so many lines; 0: it does not
	sent           uint64
	deliveries     uint64
	lateDeliveries uint64        // to members that had stopped
	measuredFrom   time.Duration // lines that were due before do not count in times
	times          histogram

	nextDue       time.Duration // when the next line is due, at a fixed rate
	nextPublisher int
}

// Run does the work and measures it. The error is nil if the work was done and no line
// was lost, doubled or out of order; else the result has it as well.
func Run(ctx context.Context, server Server, shape Shape) (r Result, err error) {
	r = Result{Server: server.Protocol, Shape: shape}
	defer func() {
		if err != nil {
			r.Fault = err.Error()
		}
	}()
	if err := shape.check(); err != nil {
		return r, err
	}
	proto, ok := protocols[server.Protocol]
	if !ok {
		return r, fmt.Errorf("%q is no protocol: write roomd, redis, nats or irc", server.Protocol)
	}
	if _, ok := proto.wire.(dialogue); ok && shape.Kind != Fanout && shape.Kind != Latency && shape.Kind != Idle {
		return r, fmt.Errorf("%s is not measured by IRC", shape.Kind)
	}
	if server.PID == 0 {
		server.PID = listenerOf(server.Address)
	}
	if err := ensureDescriptors(shape.Rooms*(shape.Members+shape.Publishers) + shape.InFlight + 100); err != nil {
		return r, err
	}
	l, err := newLoop()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rooms, remove, err := makeRooms(server, proto, shape.Rooms+shape.Silent)
	if err != nil {
		return r, err
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
			return r, err
		}
	}
	began := time.Now()
	if err := t.join(ctx, rooms[:shape.Rooms]); err != nil {
		return r, err
	}
	r.Joining = time.Since(began)
	switch shape.Kind {
	case Idle:
		err = t.measureIdle(ctx, before, &r)
	case Churn:
		err = (&churn{load: t}).run(ctx, rooms, &r)
	case Comeback:
		err = t.comeback(ctx, &r)
	case History:
		err = t.turnHistory(ctx, &r)
	default:
		err = t.measure(ctx, &r)
	}
	return r, err
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

// fillWindow lets a publisher send as many lines as it may have in flight.
func (t *load) fillWindow(p *publisher) {
	for t.publishing && p.inFlight < t.shape.InFlight {
		t.publish(p, t.loop.now())
	}
}

// publish sends a publisher's next line.
func (t *load) publish(p *publisher, due time.Duration) {
	if len(p.conn.out) == 0 {
		t.unflushed = append(t.unflushed, p.conn)
	}
	p.sent++
	p.inFlight++
	p.dues[p.sent%uint64(len(p.dues))] = due
	setNumber(p.payload, p.sent)
	p.conn.out = t.proto.publish(p.conn.out, p.audience.name, p.payload)
	t.sent++
	if t.sent == t.limit {
		t.publishing = false
	}
}

// flushDue sends the lines that are due, and returns the time until the next one is.
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

// publishFor lets the publishers send for a while, or until they have sent so many
// lines; 0: any number.
func (t *load) publishFor(ctx context.Context, d time.Duration, lines uint64) error {
	t.limit = 0
	if lines > 0 {
		t.limit = t.sent + lines
	}
	if !t.publishing {
		t.publishing, t.nextDue = true, t.loop.now()
	}
	if t.shape.Kind != Latency { // else flushDue sends
		for _, p := range t.publishers {
			t.fillWindow(p)
		}
	}
	end := time.Now().Add(d)
	return t.loop.runUntil(ctx, math.MaxInt64, "", func() bool { return !t.publishing || time.Now().After(end) }, t.flushDue)
}

// measure lets the publishers send, and checks that every member gets every line.
func (t *load) measure(ctx context.Context, r *Result) error {
	if p := t.server.Process; p != nil && p.isRoomd() {
		before, err := p.databaseStats()
		if err != nil {
			return err
		}
		defer func() {
			if after, err := p.databaseStats(); err == nil {
				r.Database = after.since(before)
			}
			r.Durability = p.Durability
		}()
	}
	for _, a := range t.audiences {
		left := t.shape.Stopped
		for _, m := range a.members {
			if m.publisher == nil && left > 0 {
				m.stopped = true
				t.loop.poll.remove(m.fd)
				left--
			}
		}
	}
	if t.shape.WarmUp > 0 {
		if err := t.publishFor(ctx, t.shape.WarmUp, 0); err != nil {
			return err
		}
	}
	sent, got := t.sent, t.deliveries
	t.measuredFrom = t.loop.now()
	end := t.startMeasuring()
	if err := t.publishFor(ctx, t.shape.Duration, t.shape.Lines); err != nil {
		return err
	}
	if err := t.drain(ctx, "the last lines"); err != nil {
		return err
	}
	end(r)
	r.Resident, _ = residentBytes(t.server.PID) // 0 if it cannot be read
	r.setLines(t.sent-sent, t.deliveries-got)
	r.Quantiles = t.times.quantiles()
	if t.shape.Stopped > 0 {
		return t.resumeStopped(ctx, r)
	}
	return nil
}

// startMeasuring starts to measure processor time. end puts the time of the server and
// of this tool into a result.
func (t *load) startMeasuring() (end func(*Result)) {
	began, cpu, mine := time.Now(), cpuTime(t.server.PID), cpuTime(os.Getpid())
	return func(r *Result) {
		r.Took, r.CPU = time.Since(began), cpuTime(t.server.PID)-cpu
		r.Cores = float64(r.CPU) / float64(r.Took)
		r.LoadCores = float64(cpuTime(os.Getpid())-mine) / float64(r.Took)
	}
}

// drain ends publishing and waits until every member has got every line.
func (t *load) drain(ctx context.Context, what string) error {
	t.publishing = false
	done := func() bool { return t.deliveries == t.sent*uint64(t.shape.Members-t.shape.Stopped) }
	if err := t.loop.runUntil(ctx, t.shape.Patience, what, done, t.flushDue); err != nil {
		return errors.Join(err, t.missing())
	}
	return nil
}

// setLines puts the number of lines and deliveries, and their costs, into a result.
func (r *Result) setLines(lines, deliveries uint64) {
	r.Lines, r.Deliveries = lines, deliveries
	r.PerLine, r.PerDelivery = microseconds(r.CPU)/float64(lines), microseconds(r.CPU)/float64(deliveries)
}

func microseconds(d time.Duration) float64 { return float64(d) / 1e3 }

// resumeStopped lets the stopped members read on, and waits until they have everything.
func (t *load) resumeStopped(ctx context.Context, r *Result) error {
	began := time.Now()
	for _, m := range t.members {
		if m.stopped {
			if err := t.loop.poll.add(m.fd, false); err != nil {
				return err
			}
		}
	}
	done := func() bool { return t.lateDeliveries == t.sent*uint64(t.shape.Stopped) }
	if err := t.loop.runUntil(ctx, t.shape.Patience, "the lines for stopped members", done, nil); err != nil {
		return errors.Join(err, t.missing())
	}
	r.CaughtUp = time.Since(began)
	return nil
}

// missing names a member that has not got every line.
func (t *load) missing() error {
	for _, a := range t.audiences {
		var sent uint64
		for _, p := range a.publishers {
			sent += p.sent
		}
		for _, m := range a.members {
			if uint64(m.messages) < sent {
				return faultf("%v got %d of %d lines", m, m.messages, sent)
			}
		}
	}
	return errors.New("nothing is missing")
}
