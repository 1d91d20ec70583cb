package bench

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// However the bytes are cut, and whatever asides are between the messages,
// every member of every protocol counts each line once.
func TestStream(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Log("seed", seed)
	for _, test := range []struct {
		name, before, after, aside string
	}{
		{"roomd", "<guest-1> ", "\n", "* guest-9 joined (7 here)\n"},
		{"redis", "*3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$40\r\n", "\r\n", ""},
		{"nats", "MSG room 1 40\r\n", "\r\n", "PING\r\n"},
		{"irc", ":n1!n1@127.0.0.1 PRIVMSG #room :", "\r\n", "PING :irc.bench\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			proto := protocols[test.name]
			const lines, members = 3000, 7
			room := &audience{}
			for i := range 3 {
				p := &publisher{audience: room, id: i, payload: newPayload(i, 40), dues: make([]time.Duration, 16), sent: lines}
				room.publishers = append(room.publishers, p)
			}
			var said []string
			var numbers [3]uint64
			for range lines {
				p := room.publishers[rnd.IntN(3)]
				numbers[p.id]++
				setNumber(p.payload, numbers[p.id])
				said = append(said, test.before+string(p.payload)+test.after)
			}
			var s *stream
			var left []string
			for i := range members {
				if i == 0 || !proto.ordered {
					s = &stream{audience: room, proto: proto}
				}
				m := &member{stream: s, id: i}
				s.members, room.members = append(s.members, m), append(room.members, m)
				var b strings.Builder
				for _, l := range said {
					if rnd.IntN(20) == 0 {
						b.WriteString(test.aside)
					}
					b.WriteString(l)
				}
				left = append(left, b.String())
			}
			got := make([]int, members)
			for some := true; some; {
				some = false
				for i, m := range room.members {
					n := min(rnd.IntN(300), len(left[i]))
					if err := m.receive([]byte(left[i][:n]), func(m *member, _ message) { got[m.id]++ }); err != nil {
						t.Fatal(err)
					}
					left[i] = left[i][n:]
					some = some || left[i] != ""
				}
			}
			for i := range got {
				if got[i] != lines {
					t.Errorf("member %d got %d lines of %d", i+1, got[i], lines)
				}
			}
			if len(s.log) > 64<<10+1000 {
				t.Errorf("the stream keeps %d bytes", len(s.log))
			}
			again := room.members[1]
			if err := again.receive([]byte(said[lines-1]), func(*member, message) {}); err == nil {
				t.Error("the last line came twice, and nothing was said")
			}
		})
	}
}

// The quantiles of known durations, as exact as the buckets are.
func TestHistogram(t *testing.T) {
	var h histogram
	for i := 1; i <= 100000; i++ {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for _, q := range []float64{0, .01, .5, .99, .999} {
		want := q * 1e5
		if got := float64(h.quantile(q)) / 1e3; got < want || got > want*33/32+2 {
			t.Errorf("quantile %g is %g µs", q, got)
		}
	}
	if h.quantile(1) != 100*time.Millisecond || h.max != 100*time.Millisecond {
		t.Errorf("the most is %v, %v", h.quantile(1), h.max)
	}
}

// What a shape must not be is refused before anything is opened.
func TestShapes(t *testing.T) {
	for kind, wrong := range map[string]func(*Shape){
		Fanout: func(s *Shape) { s.Publishers = 257 }, Latency: func(s *Shape) { s.Rate = 0 }, Idle: func(s *Shape) { s.Rooms = 0 },
		Churn: func(s *Shape) { s.Cycles = 0 }, Comeback: func(s *Shape) { s.Members = 0 }, History: func(s *Shape) { s.Keep = 0 },
	} {
		s := Default(kind)
		if err := s.check(); err != nil {
			t.Error(err)
		}
		if wrong(&s); s.check() == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

func TestMedian(t *testing.T) {
	m := median([]Result{{PerDelivery: 3, Quantiles: Quantiles{P99: 1}, Lines: 7}, {PerDelivery: 1, Quantiles: Quantiles{P99: 2}, Lines: 9}, {PerDelivery: 2, Quantiles: Quantiles{P99: 3}, Lines: 8}})
	if m.PerDelivery != 2 || m.P99 != 2 || m.Lines != 8 {
		t.Errorf("%+v", m)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.00 µs", 999: "1.00 µs", 12345: "12.3 µs", 999499: "999 µs", 999600: "1.00 ms", 1234567: "1.23 ms",
		999600 * time.Microsecond: "1.00 s", 61500 * time.Millisecond: "61.5 s", 345 * time.Second: "345 s",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
}
