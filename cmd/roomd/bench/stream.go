package bench

import (
	"bytes"
	"fmt"
	"time"
)

// stream is what all members of a room are to see: the bytes that came first,
// from whichever member got them.
type stream struct {
	room  room
	proto protocol

	base   int64  // the position of log[0]
	log    []byte // messages only, the last perhaps in part
	parsed int64  // where its last whole message ends
	trimAt int    // trim when log is longer

	firstMessage int       // the number of marks[0] since the beginning
	messages     []message // the messages in log

	publishers []*publisher
	members    []*member
}

// message is a message in the stream.
type message struct {
	end       int64 // its position there
	due       time.Duration
	publisher int32 // in this room
}

// member is a connection that gets what is said in a room.
type member struct {
	conn
	stream *stream
	id     int // in its room

	joined   bool
	stopped  bool   // does not read, for now
	greeting []byte // what came before it had joined

	pos      int64    // how much of the stream it has got
	messages int      // how many messages
	partial  []byte   // the beginning of an aside; without a common order, of a message
	last     []uint64 // without a common order: the newest line of each publisher

	publisher *publisher // whose lines are in flight until this member has them
}

// publisher says lines in a room.
type publisher struct {
	conn   *conn // its member's, or one of its own
	stream *stream
	id     int // in its room

	payload  []byte
	sent     uint64
	seen     uint64 // at the first member
	inFlight int
	dues     []time.Duration // when the newest lines were due, by number modulo its length
}

const (
	// A payload begins with the publisher and the number, both of fixed
	// width: "0007 0000000123 ".
	idDigits     = 4
	numberDigits = 10
	minBytes     = idDigits + 1 + numberDigits + 1
)

func newPayload(id, size int) []byte {
	b := fmt.Appendf(nil, "%0*d %0*d ", idDigits, id, numberDigits, 0)
	for i := len(b); i < size; i++ {
		b = append(b, 'a'+byte(i%26))
	}
	return b
}

func putNumber(b []byte, n uint64) {
	for i := numberDigits - 1; i >= 0; i-- {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
}

func parseNumber(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// fault is something that a server did wrong.
type fault struct{ text string }

func (f fault) Error() string { return f.text }

func faultf(format string, args ...any) error { return fault{fmt.Sprintf(format, args...)} }

// receive takes what a member has read. arrived is called for each message that it
// now has in whole.
func (m *member) receive(data []byte, arrived func(*member, message)) error {
	s := m.stream
	if !s.proto.ordered {
		return m.receiveUnordered(data, arrived)
	}
	for len(data) > 0 {
		if len(m.partial) > 0 {
			n, err := m.takeControl(data)
			if err != nil {
				return err
			}
			data = data[n:]
			continue
		}
		known := s.log[m.pos-s.base:]
		n := min(len(known), len(data))
		if !bytes.Equal(known[:n], data[:n]) {
			for n = 0; known[n] == data[n]; n++ {
			}
			known = known[:n+1]
		}
		m.pos += int64(n)
		data = data[n:]
		if len(data) > 0 && n == len(known) {
			taken, err := s.extend(data)
			if err != nil {
				return fmt.Errorf("%v: %w", m, err)
			}
			m.pos += int64(taken)
			data = data[taken:]
		}
		for m.messages < s.firstMessage+len(s.messages) && s.messages[m.messages-s.firstMessage].end <= m.pos {
			arrived(m, s.messages[m.messages-s.firstMessage])
			m.messages++
		}
		if len(data) == 0 {
			break
		}
		// It differs: that may only be an aside, between messages.
		if m.pos != s.startOf(m.messages) || !s.proto.isControl(data[0]) {
			return faultf("%v: at byte %d, in message %d, it got %s, where another got %s", m, m.pos, m.messages+1, quote(data), quote(s.log[m.pos-s.base:]))
		}
		k, err := m.takeControl(data)
		if err != nil {
			return err
		}
		data = data[k:]
	}
	return nil
}

func (m *member) String() string { return fmt.Sprintf("%s, member %d", m.stream.room.name, m.id+1) }

// startOf is where a message begins.
func (s *stream) startOf(n int) int64 {
	if n == s.firstMessage {
		return s.base
	}
	return s.messages[n-s.firstMessage-1].end
}

// takeControl takes a line that is not a message, or what there is of it.
func (m *member) takeControl(data []byte) (int, error) {
	n := bytes.IndexByte(data, '\n') + 1
	if n == 0 {
		m.partial = append(m.partial, data...)
		return len(data), nil
	}
	m.partial = append(m.partial, data[:n]...)
	reply, err := m.stream.proto.control(m.partial)
	m.partial = m.partial[:0]
	if err != nil {
		return 0, faultf("%v: %v", m, err)
	}
	m.out = append(m.out, reply...)
	return n, nil
}

// extend appends what nobody has got before, up to an aside, and checks the
// messages in it. It returns how many bytes it has taken.
func (s *stream) extend(data []byte) (int, error) {
	s.trim()
	old := s.base + int64(len(s.log))
	s.log = append(s.log, data...)
	for int(s.parsed-s.base) < len(s.log) {
		rest := s.log[s.parsed-s.base:]
		if s.proto.isControl(rest[0]) {
			s.log = s.log[:s.parsed-s.base]
			return int(s.parsed - old), nil
		}
		payload, n, err := s.proto.frame(rest)
		if err != nil {
			return 0, faultf("%v", err)
		}
		if n == 0 {
			break
		}
		p, number, err := s.parse(payload)
		if err == nil {
			err = p.check(number, p.seen)
		}
		if err != nil {
			return 0, err
		}
		p.seen = number
		s.parsed += int64(n)
		s.messages = append(s.messages, message{s.parsed, p.due(number), int32(p.id)})
	}
	return len(data), nil
}

// parse finds the publisher and the number of a line, and makes sure that it
// is what was sent.
func (s *stream) parse(payload []byte) (*publisher, uint64, error) {
	if len(payload) >= minBytes {
		id, ok := parseNumber(payload[:idDigits])
		n, ok2 := parseNumber(payload[idDigits+1 : idDigits+1+numberDigits])
		if ok && ok2 && id < uint64(len(s.publishers)) {
			if p := s.publishers[id]; n <= p.sent && bytes.Equal(payload[minBytes:], p.payload[minBytes:]) {
				return p, n, nil
			}
		}
	}
	return nil, 0, faultf("a line that was never sent: %s", quote(payload))
}

// check makes sure that a line is the one after the last.
func (p *publisher) check(n, last uint64) error {
	switch {
	case n <= last:
		return faultf("line %d of publisher %d came twice, or late: line %d had come before", n, p.id+1, last)
	case n > last+1:
		return faultf("lines %d to %d of publisher %d are missing: line %d came next", last+1, n-1, p.id+1, n)
	}
	return nil
}

// due is when a line was due. Of one that is older than all that are
// remembered, it is when the oldest of those was.
func (p *publisher) due(n uint64) time.Duration {
	size := uint64(len(p.dues))
	return p.dues[max(n, p.sent-min(size-1, p.sent))%size]
}

// receiveUnordered is get where members may see the publishers' lines in different
// orders: each line is parsed at each member.
func (m *member) receiveUnordered(data []byte, arrived func(*member, message)) error {
	s := m.stream
	for len(m.last) < len(s.publishers) {
		m.last = append(m.last, 0)
	}
	if len(m.partial) > 0 {
		m.partial = append(m.partial, data...)
		data = m.partial
	}
	for len(data) > 0 {
		if s.proto.isControl(data[0]) {
			i := bytes.IndexByte(data, '\n') + 1
			if i == 0 {
				break
			}
			reply, err := s.proto.control(data[:i])
			if err != nil {
				return faultf("%v: %v", m, err)
			}
			m.out = append(m.out, reply...)
			data = data[i:]
			continue
		}
		payload, n, err := s.proto.frame(data)
		if err != nil {
			return faultf("%v: %v", m, err)
		}
		if n == 0 {
			break
		}
		p, number, err := s.parse(payload)
		if err == nil {
			err = p.check(number, m.last[p.id])
		}
		if err != nil {
			return fmt.Errorf("%v: %w", m, err)
		}
		m.last[p.id] = number
		m.messages++
		arrived(m, message{due: p.due(number), publisher: int32(p.id)})
		data = data[n:]
	}
	m.partial = append(m.partial[:0], data...)
	return nil
}

// trim forgets what every member has got.
func (s *stream) trim() {
	if len(s.log) < s.trimAt {
		return
	}
	least := s.members[0]
	for _, m := range s.members {
		if m.messages < least.messages {
			least = m
		}
	}
	drop := least.messages - s.firstMessage
	if drop > 0 {
		end := s.messages[drop-1].end
		s.log = s.log[:copy(s.log, s.log[end-s.base:])]
		s.base = end
		s.messages = s.messages[:copy(s.messages, s.messages[drop:])]
		s.firstMessage += drop
	}
	s.trimAt = max(minTrim, 2*len(s.log))
}

const minTrim = 64 << 10
