package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// audience is a room under load.
type audience struct {
	room
	members    []*member
	publishers []*publisher
}

// stream is the bytes that its members must see, as the first of them got them. All
// members of a room share a stream if the protocol has one order for them; else each has
// its own.
type stream struct {
	audience *audience
	proto    protocol
	members  []*member

	base   int64  // the position of log[0]
	log    []byte // messages only, the last perhaps in part
	parsed int64  // the end of its last whole message
	trimAt int    // trim when log is longer

	firstMessage int       // the number of messages[0] since the beginning
	messages     []message // the messages in log
	newest       []uint64  // the number of the newest line of each publisher
}

// message is a message in the stream.
type message struct {
	end       int64 // its position there
	due       time.Duration
	publisher int32 // in this room
}

// member is a connection that gets the lines of a room.
type member struct {
	conn
	stream *stream
	id     int // in its room

	joined   bool
	stopped  bool   // does not read, for now
	greeting []byte // the bytes before it has joined
	entrant         // of a dialogue, the same

	pos      int64  // the bytes of the stream that it has
	messages int    // its messages
	control  []byte // the beginning of a control line

	publisher *publisher // its lines are in flight until this member has them
}

// publisher sends lines to a room.
type publisher struct {
	conn     *conn // its member's, or one of its own
	audience *audience
	id       int // in its room

	payload  []byte
	sent     uint64
	inFlight int
	dues     []time.Duration // the times when the newest lines were due, by number modulo its length
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

// setNumber writes the number of the next line into a payload.
func setNumber(payload []byte, n uint64) {
	copy(payload[idDigits+1:], fmt.Sprintf("%0*d", numberDigits, n))
}

// fault is an error of the server, not of this tool.
type fault struct{ text string }

func (f fault) Error() string { return f.text }

func faultf(format string, args ...any) error { return fault{fmt.Sprintf(format, args...)} }

// receive takes the bytes that a member has read. It calls arrived for each message that
// the member now has in whole.
func (m *member) receive(data []byte, arrived func(*member, message)) error {
	s := m.stream
	for len(data) > 0 {
		if len(m.control) == 0 {
			n, err := m.compare(data)
			if err != nil {
				return fmt.Errorf("%v: %w", m, err)
			}
			data = data[n:]
			for m.messages < s.firstMessage+len(s.messages) && s.messages[m.messages-s.firstMessage].end <= m.pos {
				arrived(m, s.messages[m.messages-s.firstMessage])
				m.messages++
			}
			if len(data) == 0 {
				break
			}
			// The rest differs: only a control line may, and only between messages.
			if m.pos != s.startOf(m.messages) || !s.proto.isControl(data[0]) {
				return faultf("%v: at byte %d, in message %d, it got %.120q, where another got %.120q", m, m.pos, m.messages+1, data, s.log[m.pos-s.base:])
			}
		}
		n, err := m.takeControl(data)
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// compare takes the bytes that are those of the stream. Beyond the end of the stream it
// extends that. It returns the number of bytes that it has taken.
func (m *member) compare(data []byte) (n int, err error) {
	s := m.stream
	known := s.log[m.pos-s.base:]
	n = min(len(known), len(data))
	if !bytes.Equal(known[:n], data[:n]) {
		for n = 0; known[n] == data[n]; n++ {
		}
	} else if n < len(data) {
		var taken int
		taken, err = s.extend(data[n:])
		n += taken
	}
	m.pos += int64(n)
	return n, err
}

func (m *member) String() string { return fmt.Sprintf("%s, member %d", m.stream.audience.name, m.id+1) }

// startOf returns the position where a message begins.
func (s *stream) startOf(n int) int64 {
	if n == s.firstMessage {
		return s.base
	}
	return s.messages[n-s.firstMessage-1].end
}

// takeControl takes a control line, or the beginning of one.
func (m *member) takeControl(data []byte) (int, error) {
	n := bytes.IndexByte(data, '\n') + 1
	if n == 0 {
		m.control = append(m.control, data...)
		return len(data), nil
	}
	m.control = append(m.control, data[:n]...)
	reply, err := m.stream.proto.control(m.control)
	m.control = m.control[:0]
	if err != nil {
		return 0, faultf("%v: %v", m, err)
	}
	m.out = append(m.out, reply...)
	return n, nil
}

// extend appends bytes that no member has got before, up to a control line, and checks
// the messages in them. It returns the number of bytes that it has taken.
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
		if err != nil {
			return 0, err
		}
		s.parsed += int64(n)
		s.messages = append(s.messages, message{s.parsed, p.due(number), int32(p.id)})
	}
	return len(data), nil
}

// parse returns the publisher and the number of a line, after it has made sure that the
// line was sent and is the next one of its publisher.
func (s *stream) parse(payload []byte) (*publisher, uint64, error) {
	if len(payload) >= minBytes {
		id, err := strconv.ParseUint(string(payload[:idDigits]), 10, 64)
		n, err2 := strconv.ParseUint(string(payload[idDigits+1:idDigits+1+numberDigits]), 10, 64)
		if err == nil && err2 == nil && id < uint64(len(s.audience.publishers)) {
			if p := s.audience.publishers[id]; n <= p.sent && bytes.Equal(payload[minBytes:], p.payload[minBytes:]) {
				return p, n, s.next(p, n)
			}
		}
	}
	return nil, 0, faultf("a line that was never sent: %.120q", payload)
}

// next makes n the number of the newest line of a publisher, if it is the next one.
func (s *stream) next(p *publisher, n uint64) error {
	for len(s.newest) <= p.id {
		s.newest = append(s.newest, 0)
	}
	last := s.newest[p.id]
	switch {
	case n <= last:
		return faultf("line %d of publisher %d came twice, or late: line %d had come before", n, p.id+1, last)
	case n > last+1:
		return faultf("lines %d to %d of publisher %d are missing: line %d came next", last+1, n-1, p.id+1, n)
	}
	s.newest[p.id] = n
	return nil
}

// due returns the time when a line was due; of a line older than all remembered ones,
// the time of the oldest of those.
func (p *publisher) due(n uint64) time.Duration {
	size := uint64(len(p.dues))
	return p.dues[max(n, p.sent-min(size-1, p.sent))%size]
}

// trim removes the messages that every member has got.
func (s *stream) trim() {
	if len(s.log) < s.trimAt {
		return
	}
	least := slices.MinFunc(s.members, func(a, b *member) int { return cmp.Compare(a.messages, b.messages) })
	if drop := least.messages - s.firstMessage; drop > 0 {
		end := s.messages[drop-1].end
		s.log = slices.Delete(s.log, 0, int(end-s.base))
		s.base = end
		s.messages = slices.Delete(s.messages, 0, drop)
		s.firstMessage += drop
	}
	s.trimAt = 2 * len(s.log)
	if len(s.members) > 1 {
		s.trimAt = max(s.trimAt, minTrim)
	}
}

// minTrim bounds how often the members of a stream are visited to trim it.
const minTrim = 64 << 10
