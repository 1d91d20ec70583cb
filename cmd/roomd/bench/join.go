package bench

import (
	"cmp"
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
	t.unjoined, t.outside = len(t.members), len(t.members)
	open := func() (time.Duration, error) {
		for opened < len(t.members) && opened-(len(t.members)-t.outside) < cmp.Or(t.proto.joining, maxJoining) {
			if err := t.openMember(t.members[opened]); err != nil {
				return 0, err
			}
			opened++
		}
		return time.Second, nil
	}
	if err := t.loop.runUntil(ctx, 2*time.Minute, "joining", t.allEntered, open); err != nil {
		return err
	}
	if err := t.connectPublishers(ctx); err != nil {
		return err
	}
	if d, ok := t.proto.wire.(dialogue); ok {
		if err := t.passBarrier(d); err != nil {
			return err
		}
	}
	return t.loop.runUntil(ctx, 2*time.Minute, "joining", t.allJoined, nil)
}

func (t *load) allEntered() bool { return t.outside == 0 }

func (t *load) allJoined() bool { return t.unjoined == 0 }

// openMember connects a member to its room.
func (t *load) openMember(m *member) error {
	m.joined, m.entrant, m.out = false, entrant{}, append(m.out[:0], t.proto.hello(m.stream.audience.name, false)...)
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
	var handlers []*publisherHandler
	for _, p := range t.publishers {
		p.conn = &conn{}
		h := &publisherHandler{load: t, publisher: p}
		h.dialogue, _ = t.proto.wire.(dialogue)
		if h.dialogue != nil {
			p.conn.out = append(p.conn.out, t.proto.hello(p.audience.name, false)...)
		}
		if err := t.loop.open(p.conn, p.audience.at, h); err != nil {
			return err
		}
		handlers = append(handlers, h)
	}
	up := func() bool { return !slices.ContainsFunc(handlers, func(h *publisherHandler) bool { return !h.up() }) }
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
	if d, ok := h.t.proto.wire.(dialogue); ok && !m.joined {
		was := m.entered
		rest, passed, err := m.take(d, &m.conn, m.stream.audience.name, data)
		if err != nil {
			return faultf("%v: %v", m, err)
		}
		if m.entered && !was {
			h.t.outside--
		}
		if !passed {
			return nil
		}
		m.joined, data = true, rest
		h.t.unjoined--
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
		h.t.outside--
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
// number of its receivers. In a dialogue it has to be in the room, too.
type publisherHandler struct {
	load      *load
	publisher *publisher
	dialogue  dialogue // nil: there is none
	entrant
}

// up reports whether the publisher may send.
func (h *publisherHandler) up() bool {
	return h.publisher.conn.up && (h.dialogue == nil || h.entered)
}

func (h *publisherHandler) receive(_ *loop, data []byte) error {
	if h.load.closing {
		return nil
	}
	if h.dialogue != nil {
		_, _, err := h.take(h.dialogue, h.publisher.conn, h.publisher.audience.name, data)
		if err != nil {
			return faultf("publisher %d: %v", h.publisher.id+1, err)
		}
		return nil
	}
	if data[0] == '-' {
		return faultf("%v", unexpected(data))
	}
	return nil
}

func (h *publisherHandler) closed(_ *loop, cause error) error {
	if h.load.closing {
		return nil
	}
	return faultf("a publisher: %v", cause)
}
