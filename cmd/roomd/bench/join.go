package bench

import (
	"context"
	"slices"
	"time"
)

// maxJoining is how many members may join at the same time: no more than a backlog
// holds.
const maxJoining = 256

// join brings all members into their rooms.
func (t *load) join(ctx context.Context, rooms []room) error {
	for _, room := range rooms {
		a := &audience{room: room}
		var s *stream
		for i := range t.shape.Members {
			if s == nil || !t.proto.ordered {
				s = &stream{audience: a, proto: t.proto}
			}
			m := &member{stream: s, id: i, conn: conn{fd: -1}}
			s.members = append(s.members, m)
			a.members = append(a.members, m)
		}
		t.audiences = append(t.audiences, a)
		t.members = append(t.members, a.members...)
	}
	t.assignPublishers()
	opened := 0
	t.unjoined = len(t.members)
	open := func() (time.Duration, error) {
		for opened < len(t.members) && opened-(len(t.members)-t.unjoined) < maxJoining {
			if err := t.openMember(t.members[opened]); err != nil {
				return 0, err
			}
			opened++
		}
		return time.Second, nil
	}
	if err := t.loop.runUntil(ctx, 2*time.Minute, "joining", t.allJoined, open); err != nil {
		return err
	}
	return t.connectPublishers(ctx)
}

func (t *load) allJoined() bool { return t.unjoined == 0 }

// openMember connects a member to its room.
func (t *load) openMember(m *member) error {
	m.joined, m.out = false, append(m.out[:0], t.proto.hello(m.stream.audience.name, false)...)
	return t.loop.open(&m.conn, m.stream.audience.at, memberHandler{t, m})
}

// assignPublishers makes members of each room its publishers. They are spread evenly,
// as one server sends to the first member first, another to the last.
func (t *load) assignPublishers() {
	for i := range t.shape.Publishers { // rooms take turns
		for _, a := range t.audiences {
			m := a.members[(2*i+1)*t.shape.Members/(2*t.shape.Publishers)]
			m.publisher = &publisher{audience: a, id: i, payload: newPayload(i, t.shape.Bytes), dues: make([]time.Duration, t.rememberedLines()), conn: &m.conn}
			a.publishers = append(a.publishers, m.publisher)
			t.publishers = append(t.publishers, m.publisher)
		}
	}
}

// connectPublishers connects publishers that need a connection of their own.
func (t *load) connectPublishers(ctx context.Context) error {
	if !t.proto.publisherConns {
		return nil
	}
	for _, p := range t.publishers {
		p.conn = &conn{}
		if err := t.loop.open(p.conn, p.audience.at, publisherHandler{t}); err != nil {
			return err
		}
	}
	up := func() bool { return !slices.ContainsFunc(t.publishers, func(p *publisher) bool { return !p.conn.up }) }
	return t.loop.runUntil(ctx, time.Minute, "connecting the publishers", up, nil)
}

// rememberedLines is the number of lines of each publisher whose due time is kept.
func (t *load) rememberedLines() int {
	return max(min(1<<20/(t.shape.Rooms*t.shape.Publishers), 1<<16), 4*t.shape.InFlight)
}

// memberHandler is a member on the loop.
type memberHandler struct {
	t *load
	m *member
}

func (h memberHandler) receive(_ *loop, data []byte) error {
	m := h.m
	if h.t.closing { // the server says why it closes the connection
		return nil
	}
	if !m.joined {
		m.greeting = append(m.greeting, data...)
		n, err := h.t.proto.joined(m.greeting, m.stream.audience.name, false)
		if err != nil {
			return faultf("%v: %v", m, err)
		}
		if n == 0 {
			return nil
		}
		m.joined = true
		h.t.unjoined--
		data = m.greeting[n:]
		m.greeting = nil
	}
	return m.receive(data, h.t.arrived)
}

func (h memberHandler) closed(_ *loop, cause error) error {
	if h.t.closing {
		h.t.unjoined++
		return nil
	}
	return faultf("%v: %v", h.m, cause)
}

// publisherHandler is a publisher's own connection: Redis answers each line with the
// number of its receivers.
type publisherHandler struct{ t *load }

func (h publisherHandler) receive(_ *loop, data []byte) error {
	if data[0] == '-' {
		return faultf("%v", unexpected(data))
	}
	return nil
}

func (h publisherHandler) closed(_ *loop, cause error) error {
	if h.t.closing {
		return nil
	}
	return faultf("a publisher: %v", cause)
}
