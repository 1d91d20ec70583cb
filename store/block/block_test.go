package block

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"
)

func key(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func linesOf(b *Block) (lines []Line) {
	sc := b.Scan()
	for whole := sc.Whole(); sc.Next(); {
		lines = append(lines, sc.Line(whole))
	}
	return lines
}

// What the checksum cannot vouch for must not do harm either.
func FuzzScan(f *testing.F) {
	b := Block{Room: 7}
	b.Add(3, 1e15, Action, "ann", "waves")
	b.Add(9, 1e15+5, Message, "", "hello")
	b.Add(10, 1e15+5, Notice, "bot", "")
	f.Add(b.Encode()[HeaderBytes:])
	f.Add([]byte{0, 0, 1, 255, 'x'})
	f.Fuzz(func(t *testing.T, v []byte) {
		b := Block{Room: 7, First: 1, buf: append(make([]byte, HeaderBytes), v...)}
		lines := linesOf(&b)
		again := Block{Room: 7}
		for _, l := range lines {
			again.Add(l.Seq, l.Time.UnixMicro(), l.Kind, l.From, l.Text)
		}
		if len(lines) > 0 && !slices.Equal(linesOf(&again), lines) {
			t.Errorf("%x decodes to %+v, that to %+v", v, lines, linesOf(&again))
		}
	})
}

func FuzzDecode(f *testing.F) {
	b := Block{Room: 7}
	b.Add(3, 1e15, Action, "ann", "waves")
	f.Add(key(3), b.Encode(), 0)
	f.Fuzz(func(t *testing.T, k, v []byte, flip int) {
		b, err := Decode(7, k, v)
		if err != nil {
			return
		}
		if !bytes.Equal(bytes.Clone(b.Encode()), v) || b.Room != 7 {
			t.Errorf("%x decodes to %+v", v, b)
		}
		if flip >= 0 && flip < 8*len(v) {
			v = bytes.Clone(v)
			v[flip/8] ^= 1 << (flip % 8)
			if _, err := Decode(7, k, v); err == nil {
				t.Errorf("bit %d of %x is not missed", flip, v)
			}
		}
	})
}

func FuzzBlock(f *testing.F) {
	f.Add(uint64(1), uint64(1), int64(0), int64(1), uint8(1), "ann", "hello")
	f.Add(uint64(1), uint64(1), int64(0), int64(1), uint8(3), "bot", strings.Repeat("x", 300))
	f.Add(^uint64(0)-1, uint64(1), int64(-1), int64(-1e6), uint8(3), "", "\x00\xff")
	f.Fuzz(func(t *testing.T, seq, step uint64, micros, later int64, kind uint8, from, text string) {
		if kind = 1 + kind%4; len(from) > 255 {
			from = from[:255]
		}
		if seq+step <= seq || seq == 0 {
			t.Skip()
		}
		one := Line{Seq: seq, Time: time.UnixMicro(micros).UTC(), Kind: Kind(kind), From: from, Text: text}
		two := Line{Seq: seq + step, Time: time.UnixMicro(micros + later).UTC(), Kind: Message, From: "b", Text: text}
		b := Block{Room: 7}
		for _, l := range []Line{one, two} {
			b.Add(l.Seq, l.Time.UnixMicro(), l.Kind, l.From, l.Text)
		}
		got, err := Decode(7, key(seq), b.Encode())
		if lines := linesOf(&got); err != nil || !slices.Equal(lines, []Line{one, two}) {
			t.Errorf("%+v %+v became %+v, %v", one, two, lines, err)
		}
		if rest := got.After(seq); !slices.Equal(linesOf(&rest), []Line{two}) {
			t.Errorf("after %d: %+v", seq, linesOf(&rest))
		}
	})
}

// A roomd that knows no notices reads them as messages: the kind byte is that of a message,
// and the length of the text has the same value.
func TestNoticeIsAMessage(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 20_000} {
		text := strings.Repeat("x", n)
		b := AppendLine(nil, 3, 5, Notice, "bot", text)
		const kind = 2 // the offset behind two differences of a byte
		if b[kind] != byte(Message) || string(b[kind+2:kind+5]) != "bot" {
			t.Errorf("%d bytes of text: % x", n, b[:min(len(b), 12)])
		}
		length, size := binary.Uvarint(b[kind+5:])
		if length != uint64(n) || string(b[kind+5+size:]) != text {
			t.Errorf("%d bytes of text: the length reads as %d", n, length)
		}
		s := ScanLine(b, 0)
		if l := (Line{3, time.UnixMicro(5).UTC(), Notice, "bot", text}); !s.Next() || s.Line(s.Whole()) != l {
			t.Errorf("%d bytes of text became another line", n)
		}
		s = ScanLine(AppendLine(nil, 3, 5, Message, "bot", text), 0)
		if !s.Next() || s.kind != Message {
			t.Errorf("a message with %d bytes of text became another kind, %d", n, s.kind)
		}
	}
}
