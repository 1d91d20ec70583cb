package bench

import (
	"context"
	"slices"
	"time"
)

// maxJoining is how many members may be on their way in: no more than a
// backlog holds.
const maxJoining = 256

// join brings all members into their rooms.
func (t *load) join(ctx context.Context, rooms []room) error {
	for _, room := range rooms {
		s := &stream{room: room, proto: t.proto, trimAt: minTrim}
		for i := range t.shape.Members {
			m := &member{stream: s, id: i}
			m.fd = -1
			s.members = append(s.members, m)
		}
		t.streams = append(t.streams, s)
		t.members = append(t.members, s.members...)
	}
	t.assignPublishers()
	opened := 0
	t.unjoined = len(t.members)
	open := func() (time.Duration, error) {
		for opened < len(t.members) && opened-(len(t.members)-t.unjoined) < maxJoining {
			m := t.members[opened]
			m.out = append(m.out, t.proto.hello(m.stream.room.name, false)...)
			if err := t.loop.open(&m.conn, m.stream.room.at, memberHandler{t, m}); err != nil {
				return 0, err
			}
			opened++
		}
		return time.Second, nil
	}
	if err := t.loop.runUntil(ctx, 2*time.Minute, "joining", func() bool { return t.unjoined == 0 }, open); err != nil {
		return err
	}
	return t.connectPublishers(ctx)
}

// assignPublishers makes members of each room its publishers: evenly spread, for one
// server sends to the first member first, another to the last.
func (t *load) assignPublishers() {
	for i := range t.shape.Publishers { // rooms take turns to speak
		for _, s := range t.streams {
			m := s.members[(2*i+1)*t.shape.Members/(2*t.shape.Publishers)]
			m.publisher = &publisher{stream: s, id: i, payload: newPayload(i, t.shape.Bytes), dues: make([]time.Duration, t.rememberedLines()), conn: &m.conn}
			s.publishers = append(s.publishers, m.publisher)
			t.publishers = append(t.publishers, m.publisher)
		}
	}
}

// connectPublishers connects publishers that need a connection of their own.
func (t *load) connectPublishers(ctx context.Context) error {
	if !t.proto.publisherConns {
		return nil
	}
	var all []*conn
	for _, p := range t.publishers {
		p.conn = &conn{}
		all = append(all, p.conn)
		if err := t.loop.open(p.conn, p.stream.room.at, publisherHandler{t}); err != nil {
			return err
		}
	}
	up := func() bool { return !slices.ContainsFunc(all, func(c *conn) bool { return !c.up }) }
	return t.loop.runUntil(ctx, time.Minute, "connecting the publishers", up, nil)
}

// rememberedLines is how many lines of each publisher have their time kept.
func (t *load) rememberedLines() int {
	return max(min(1<<20/(t.shape.Rooms*t.shape.Publishers), 1<<16), 4*t.shape.InFlight)
}

// memberHandler is a member on the loop.
type memberHandler struct {
	t *load
	m *member
}

func (v memberHandler) receive(_ *loop, data []byte) error {
	m := v.m
	if v.t.closing { // the server says why it goes
		return nil
	}
	if !m.joined {
		m.greeting = append(m.greeting, data...)
		n, err := v.t.proto.joined(m.greeting, m.stream.room.name, false)
		if err != nil {
			return faultf("%v: %v", m, err)
		}
		if n == 0 {
			return nil
		}
		m.joined = true
		v.t.unjoined--
		data = m.greeting[n:]
		m.greeting = nil
	}
	return m.receive(data, v.t.arrived)
}

func (v memberHandler) closed(_ *loop, cause error) error {
	if v.t.closing {
		v.t.unjoined++
		return nil
	}
	return faultf("%v: %v", v.m, cause)
}

// publisherHandler is a publisher's own connection: Redis says how many got the line.
type publisherHandler struct{ t *load }

func (s publisherHandler) receive(_ *loop, data []byte) error {
	if data[0] == '-' {
		return faultf("the server says %s", quote(data))
	}
	return nil
}

func (s publisherHandler) closed(_ *loop, cause error) error {
	if s.t.closing {
		return nil
	}
	return faultf("a publisher: %v", cause)
}
