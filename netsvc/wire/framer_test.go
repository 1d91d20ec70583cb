package wire_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roomd/netsvc/wire"
)

// cut is a line that a Framer returns.
type cut struct {
	Line string
	Over int
}

// feed sends the stream through a Framer in pieces of the given sizes, repeating the last
// size, and overwrites each piece afterwards.
func feed(f *wire.Framer, stream []byte, sizes []int) (cuts []cut) {
	if len(sizes) == 0 {
		sizes = []int{max(len(stream), 1)}
	}
	for len(stream) > 0 {
		n := min(max(sizes[0], 1), len(stream))
		if len(sizes) > 1 {
			sizes = sizes[1:]
		}
		piece := bytes.Clone(stream[:n])
		stream = stream[n:]
		for rest := piece; ; {
			line, over, r, ok := f.Cut(rest)
			if !ok {
				break
			}
			cuts = append(cuts, cut{string(line), over})
			rest = r
		}
		for i := range piece {
			piece[i] = '!'
		}
	}
	if line, over, ok := f.Tail(); ok {
		cuts = append(cuts, cut{string(line), over})
	}
	return upToBinary(cuts)
}

// naive does what a Framer should do, with the whole stream at hand.
func naive(stream []byte, limit int) (cuts []cut) {
	var line []byte
	typed, opening := false, true
	end := func() {
		c := cut{string(line), 0}
		switch {
		case len(line) > limit:
			c = cut{string(line[:limit]), len(line)}
		case typed:
			for {
				i := strings.IndexAny(c.Line, "\b\x7f")
				if i < 0 {
					break
				}
				_, n := utf8.DecodeLastRuneInString(c.Line[:i])
				c.Line = c.Line[:i-n] + c.Line[i+1:]
			}
		}
		opening = opening && c.Over == 0 && wire.IsBlank([]byte(c.Line))
		cuts, line = append(cuts, c), nil
	}
	tokens := withoutTelnet(bytes.TrimPrefix(stream, []byte("\ufeff")))
	for i := 0; i < len(tokens); i++ {
		next := tokens[min(i+1, len(tokens)-1)]
		switch b := tokens[i]; {
		case b == isTelnet:
			typed = true
		case b == eraseLine:
			line = nil
		case b == '\n':
			line = bytes.TrimSuffix(line, []byte("\r"))
			end()
		case b == '\r' && typed:
			end()
			if next == '\n' || next == 0 {
				i++
			}
		case b == 0 && bytes.HasSuffix(line, []byte("\r")):
			line, typed = line[:len(line)-1], true
			end()
		case opening && len(line) < limit && isBinary(byte(b)) && !ours.Match(line):
			return append(cuts, cut{string(append(line, byte(b))), 0})
		default:
			line = append(line, byte(b))
		}
	}
	if len(line) > 0 {
		if line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		end()
	}
	return upToBinary(cuts)
}

// Parts of streams.
const (
	isTelnet  = 256 + iota // from here on it is known to be a telnet client's
	eraseLine              // EL
)

var ours = regexp.MustCompile(`^(?i:/|(create|join|list|delete|help|quit) )`)

func isBinary(b byte) bool { return b < ' ' && (b < 7 || b > 13) && b != 0x1b }

// upToBinary cuts a stream after the first byte of its first line that is no text: the rest
// depends on the pieces.
func upToBinary(cuts []cut) []cut {
	for i, c := range cuts {
		if ours.MatchString(c.Line) {
			break
		}
		if at := strings.IndexFunc(c.Line, func(r rune) bool { return r < ' ' && isBinary(byte(r)) }); at >= 0 {
			return append(cuts[:i:i], cut{c.Line[:at+1], 0})
		}
		if c.Over > 0 || !wire.IsBlank([]byte(c.Line)) {
			break
		}
	}
	return cuts
}

func withoutTelnet(s []byte) (text []int) {
	const iac, sb, se, ec, el = 255, 250, 240, 247, 248
	for len(s) > 0 {
		skip := 1
		switch {
		case s[0] != iac:
			text = append(text, int(s[0]))
		case len(s) == 1:
		case s[1] == iac:
			text = append(text, iac)
			skip = 2
		case s[1] > sb:
			text = append(text, isTelnet)
			skip = 3
		case s[1] == sb:
			text = append(text, isTelnet)
			sub, i := s[2:min(len(s), 2+512)], 0
			for i < len(sub) {
				if sub[i] != iac {
					i++
					continue
				}
				i += 2
				if i <= len(sub) && sub[i-1] == se {
					break
				}
			}
			skip = 2 + min(i, len(sub))
		case s[1] >= se:
			if text = append(text, isTelnet); s[1] == ec {
				text = append(text, '\b')
			} else if s[1] == el {
				text = append(text, eraseLine)
			}
			skip = 2
		default:
			text = append(text, iac)
		}
		s = s[min(skip, len(s)):]
	}
	return text
}

func TestFramerLines(t *testing.T) {
	const limit = 8
	lines := func(s ...string) (cuts []cut) {
		for _, line := range s {
			cuts = append(cuts, cut{line, 0})
		}
		return cuts
	}
	long := strings.Repeat("z", 511)
	for _, c := range []struct {
		name, stream string
		want         []cut
	}{
		{"nothing", "", nil},
		{"lines", "a\nbc\r\n", lines("a", "bc")},
		{"empty lines", "\n\r\n", lines("", "")},
		{"no ending", "a\nbc", lines("a", "bc")},
		{"no ending but a CR", "bc\r", lines("bc")},
		{"a CR alone", "\r", lines("")},
		{"one CR goes, others stay", "a\rb\r\r\n", lines("a\rb\r")},
		{"exactly the limit", "12345678\n12345678\r\n12345678\r", lines("12345678", "12345678", "12345678")},
		{"one over", "123456789\nok\n", []cut{{"12345678", 9}, {"ok", 0}}},
		{"one over, with a CR", "123456789\r\nok\n", []cut{{"12345678", 9}, {"ok", 0}}},
		{"a CR at the limit is not the ending", "12345678\r9\n", []cut{{"12345678", 10}}},
		{"far over, no ending", strings.Repeat("x", 1000), []cut{{"xxxxxxxx", 1000}}},

		{"negotiation", "\xff\xfb\x01\xff\xfd\x03hi\n", lines("hi")},
		{"negotiation alone", "\xff\xfb\x01", nil},
		{"negotiation in a line", "h\xff\xfe\x01i\n", lines("hi")},
		{"negotiation does not count", "1234\xff\xfb\x015678\n", lines("12345678")},
		{"an option like a line end", "a\xff\xfb\nb\n", lines("ab")},
		{"an option like an IAC", "a\xff\xfb\xffb\n", lines("ab")},
		{"commands of two bytes", "\xff\xf1a\xff\xf4b\xff\xf9\n", lines("ab")},
		{"SE without SB", "a\xff\xf0b\n", lines("ab")},
		{"escaped 255", "a\xff\xffb\n", lines("a\xffb")},
		{"255 and no command", "a\xffb\xff\n\xff\xef\n", lines("a\xffb\xff", "\xff\xef")},
		{"subnegotiation", "a\xff\xfa\x18\x00vt\n100\xff\xf0b\n", lines("ab")},
		{"escape in a subnegotiation", "\xff\xfa\xff\xff\xf0\xff\xf0b\n", lines("b")},
		{"subnegotiation of 512", "\xff\xfa" + long[:510] + "\xff\xf0b\n", lines("b")},
		{"subnegotiation without end", "\xff\xfa" + long + "zb\n", lines("b")},
		{"each subnegotiation has its own 512", "\xff\xfa" + long[:300] + "\xff\xf0\xff\xfa" + long[:300] + "\xff\xf0b\n", lines("b")},
		{"subnegotiation cut before its end", "\xff\xfa" + long + "\xff\xf0b\n", lines("\xf0b")},
		{"like TLS", "\x16\x03\x01\x02\x00ab\n", lines("\x16")},
		{"TLS and nothing else", "\x16\x03\x04", lines("\x16")},
		{"almost TLS", "\x16\x03\x05\n\x16\x03\x01\n", lines("\x16")},
		{"half of TLS", "\x16\x03", lines("\x16")},
		{"half of TLS and more", "\x16\x03\xff\xfb\x01x\n", lines("\x16")},
		{"no text", "\r\n \nab\x00c\nd", lines("", " ", "ab\x00")},
		{"no text behind text", "a\nb\x00c\n\x16\x03\x01ab\n", lines("a", "b\x00c", "\x16\x03\x01ab")},
		{"no text behind the limit", "123456789\x01\nab\n", []cut{{"12345678", 10}, {"ab", 0}}},
		{"a request that is odd", "LIST \x00\n\x01\n", lines("LIST \x00", "\x01")},
		{"control characters of text", "\a\t\v\f\x1b[A\n", lines("\a\t\v\f\x1b[A")},
		{"byte order mark", "\ufeffab\n\ufeffc\n", lines("ab", "\ufeffc")},
		{"byte order mark alone", "\ufeff", nil},
		{"two byte order marks", "\ufeff\ufeffab\n", lines("\ufeffab")},
		{"half a byte order mark", "\xef\xbbab\n", lines("\xef\xbbab")},
		{"half a byte order mark at the end", "\xef\xbb", lines("\xef\xbb")},
		{"a character like a byte order mark", "\xef\xbb\xbaab\n", lines("\xef\xbb\xbaab")},
		{"byte order mark and no text", "\ufeff\x16\x03\x01ab\n", lines("\x16")},
		{"byte order mark behind telnet", "\xff\xfb\x01\ufeff\n", lines("\ufeff")},

		{"CR NUL", "a\r\x00b\r\x00", lines("a", "b")},
		{"every line end of telnet", "\xff\xfd\x03a\rb\r\x00c\r\nd\ne", lines("a", "b", "c", "d", "e")},
		{"line ends of telnet, twice", "\xff\xfd\x03a\r\r\r\x00\r\n\n", lines("a", "", "", "", "")},
		{"a CR without telnet", "a\rb\n", lines("a\rb")},
		{"CR NUL is telnet", "a\r\x00b\rc\n", lines("a", "b", "c")},
		{"BS and DEL", "\xff\xfd\x03abx\bc\x7f\n\x7fd\b\b\be\r\x00", lines("ab", "e")},
		{"BS takes a character", "\xff\xfd\x03aé\b€\x7f\n😀\bb\xc3\b\n", lines("a", "b")},
		{"BS before CR NUL", "helo\blo\r\x00", lines("hello")},
		{"BS without telnet", "ab\b\x7f\n", lines("ab\b\x7f")},
		{"BS in a line that is too long", "\xff\xfd\x03123456789\b\b\n", []cut{{"12345678", 11}}},
		{"EC and EL", "gone\xff\xf8ax\xff\xf7b\n", lines("ab")},
		{"half a sequence at the end", "a\xff", lines("a")},
		{"half a subnegotiation at the end", "\xff\xfaxyz", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := naive([]byte(c.stream), limit); !cmp.Equal(got, c.want) {
				t.Errorf("the naive framer: %s", cmp.Diff(c.want, got))
			}
			for _, size := range []int{1, 2, 3, 5, len(c.stream)} {
				f := wire.NewFramer(limit)
				if got := feed(&f, []byte(c.stream), []int{size}); !cmp.Equal(got, c.want) {
					t.Errorf("in pieces of %d: %s", size, cmp.Diff(c.want, got))
				}
			}
		})
	}
}

func TestFramerIsNaive(t *testing.T) {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{
			"\n", "\r", "\r\n", "a", "hello", "\xff", "\xff\xff", "\xff\xfb\x01", "\xff\xfd\n", "\xff\xf1",
			"\x16\x03", "\x16\x03\x01", "\xff\xfa", "\ufeff", "\xef\xbb", "\b", "\x7f", "\r\x00", "\x00", "\xff\xf7", "\xff\xf8", "\xff\xfd\x03", "/", "List ", "\xff\xf0", "\xff\xfa\x18\x00\xff\xf0", "\xc3\xa9", "\xf0",
		}),
		rapid.Map(rapid.IntRange(0, 1100), func(n int) string { return strings.Repeat("x", n) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		stream := []byte(strings.Join(rapid.SliceOfN(piece, 0, 30).Draw(t, "stream"), ""))
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		sizes := rapid.SliceOf(rapid.IntRange(1, 30)).Draw(t, "sizes")
		f := wire.NewFramer(limit)
		if got, want := feed(&f, stream, sizes), naive(stream, limit); !cmp.Equal(got, want) {
			t.Fatalf("%q: %s", stream, cmp.Diff(want, got))
		}
	})
}

func FuzzFramer(f *testing.F) {
	f.Add([]byte("hello\r\nworld"), uint16(4096), uint64(1))
	f.Add([]byte("\xff\xfb\x01\xff\xfa\x18\x00vt\xff\xf0hi\n\xff\xff\xff\n"), uint16(3), uint64(2))
	f.Add([]byte("\x16\x03\x01\x00\n\x01\x03"), uint16(2), uint64(4))
	f.Add([]byte("\xff\xfa"+strings.Repeat("\xff", 520)+"\nx\n"), uint16(8), uint64(3))
	f.Fuzz(func(t *testing.T, stream []byte, limit uint16, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		sizes := make([]int, len(stream))
		for i := range sizes {
			sizes[i] = 1 + random.IntN(1+random.IntN(64))
		}
		n := max(int(limit), 1)
		framer := wire.NewFramer(n)
		if got, want := feed(&framer, stream, sizes), naive(stream, n); !cmp.Equal(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	})
}

// An idle connection costs nothing: after a line a Framer has no buffer.
func TestFramerIsNewBehindALine(t *testing.T) {
	for _, stream := range []string{"hello\n", "\xff\xfb\x01hello\n", "a line over the limit\n", "hello", "hello\xff", "\xff\xfb"} {
		f := wire.NewFramer(8)
		for i := range stream {
			f.Cut([]byte(stream[i : i+1]))
		}
		f.Tail()
		if !reflect.DeepEqual(f, wire.NewFramer(8)) {
			t.Errorf("behind %q: %+v", stream, f)
		}
	}
}

func TestFramerMemoryIsBounded(t *testing.T) {
	const limit, pieces = 4096, 1 << 14
	piece := bytes.Repeat([]byte("x"), 4096)
	f := wire.NewFramer(limit)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range pieces {
		f.Cut(piece)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16*limit {
		t.Errorf("a line of %d bytes took %d bytes of memory", pieces*len(piece), n)
	}
	if line, over, _, ok := f.Cut([]byte("\n")); !ok || over != pieces*len(piece) || len(line) != limit {
		t.Errorf("%d bytes of line, over %d, %v", len(line), over, ok)
	}
}

func TestFramerLineDoesNotReachIntoTheNext(t *testing.T) {
	f := wire.NewFramer(100)
	line, _, rest, _ := f.Cut([]byte("one\ntwo\n"))
	if got := string(append(line, "!!"...)); got != "one!!" {
		t.Errorf("line %q", got)
	}
	if string(rest) != "two\n" {
		t.Errorf("rest %q", rest)
	}
}

func BenchmarkCut(b *testing.B) {
	for name, stream := range map[string]string{
		"lines": strings.Repeat("a line of a usual length, as people type them\r\n", 80),
		"IAC":   strings.Repeat("\xff\xf1", 1900) + "\n",
	} {
		b.Run(name, func(b *testing.B) {
			p := []byte(stream)
			f := wire.NewFramer(4096)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				for rest := p; len(rest) > 0; {
					_, _, r, ok := f.Cut(rest)
					if !ok {
						break
					}
					rest = r
				}
			}
		})
	}
}

func TestCutOfWholeLinesTakesNoMemory(t *testing.T) {
	p := []byte("hello\r\n")
	f := wire.NewFramer(4096)
	if n := testing.AllocsPerRun(100, func() { f.Cut(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
