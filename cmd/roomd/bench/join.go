package bench

import (
	"context"
	"slices"
	"time"
)

// joinAtOnce is how many members may be on their way in: no more than a
// backlog holds.
const joinAtOnce = 256

// join brings all members into their rooms.
func (t *talk) join(ctx context.Context, rooms []place) error {
	for _, room := range rooms {
		s := &stream{room: room, proto: t.proto, most: leastLog}
		for i := range t.shape.Members {
			m := &member{stream: s, id: i}
			m.fd = -1
			s.members = append(s.members, m)
		}
		t.streams = append(t.streams, s)
		t.members = append(t.members, s.members...)
	}
	t.enlist()
	opened := 0
	t.waiting = len(t.members)
	open := func() (time.Duration, error) {
		for opened < len(t.members) && opened-(len(t.members)-t.waiting) < joinAtOnce {
			m := t.members[opened]
			m.out = append(m.out, t.proto.hello(m.stream.room.name, false)...)
			if err := t.loop.open(&m.conn, m.stream.room.at, visitor{t, m}); err != nil {
				return 0, err
			}
			opened++
		}
		return time.Second, nil
	}
	if err := t.loop.until(ctx, 2*time.Minute, "joining", func() bool { return t.waiting == 0 }, open); err != nil {
		return err
	}
	return t.speakers(ctx)
}

// enlist makes members of each room its publishers: evenly spread, for one
// server sends to the first member first, another to the last.
func (t *talk) enlist() {
	for i := range t.shape.Publishers { // rooms take turns to speak
		for _, s := range t.streams {
			m := s.members[(2*i+1)*t.shape.Members/(2*t.shape.Publishers)]
			m.own = &publisher{stream: s, id: i, payload: newPayload(i, t.shape.Bytes), dues: make([]time.Duration, t.remember()), conn: &m.conn}
			s.publishers = append(s.publishers, m.own)
			t.publishers = append(t.publishers, m.own)
		}
	}
}

// speakers connects publishers that need a connection of their own.
func (t *talk) speakers(ctx context.Context) error {
	if !t.proto.apart {
		return nil
	}
	var all []*conn
	for _, p := range t.publishers {
		p.conn = &conn{}
		all = append(all, p.conn)
		if err := t.loop.open(p.conn, p.stream.room.at, speaker{t}); err != nil {
			return err
		}
	}
	up := func() bool { return !slices.ContainsFunc(all, func(c *conn) bool { return !c.up }) }
	return t.loop.until(ctx, time.Minute, "connecting the publishers", up, nil)
}

// remember is how many lines of each publisher have their time kept.
func (t *talk) remember() int {
	return max(min(1<<20/(t.shape.Rooms*t.shape.Publishers), 1<<16), 4*t.shape.InFlight)
}

// visitor is a member on the loop.
type visitor struct {
	t *talk
	m *member
}

func (v visitor) read(_ *loop, data []byte) error {
	m := v.m
	if v.t.away { // the server says why it goes
		return nil
	}
	if !m.joined {
		m.welcome = append(m.welcome, data...)
		n, err := v.t.proto.joined(m.welcome, m.stream.room.name, false)
		if err != nil {
			return faultf("%v: %v", m, err)
		}
		if n == 0 {
			return nil
		}
		m.joined = true
		v.t.waiting--
		data = m.welcome[n:]
		m.welcome = nil
	}
	return m.get(data, v.t.arrived)
}

func (v visitor) ended(_ *loop, cause error) error {
	if v.t.away {
		v.t.waiting++
		return nil
	}
	return faultf("%v: %v", v.m, cause)
}

// speaker is a publisher's own connection: Redis says how many got the line.
type speaker struct{ t *talk }

func (s speaker) read(_ *loop, data []byte) error {
	if data[0] == '-' {
		return faultf("the server says %s", quote(data))
	}
	return nil
}

func (s speaker) ended(_ *loop, cause error) error {
	if s.t.away {
		return nil
	}
	return faultf("a publisher: %v", cause)
}
