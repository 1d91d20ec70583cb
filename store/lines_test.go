package store

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

func linesOf(b *block) (lines []Line) {
	sc := b.scan()
	for whole := sc.lines(); sc.next(); {
		lines = append(lines, sc.line(whole))
	}
	return lines
}

// What the checksum cannot vouch for must not do harm either.
func FuzzScan(f *testing.F) {
	h := head{}
	h.add(7, &Line{Seq: 3, Time: time.UnixMicro(1e15), Kind: Action, From: "ann", Text: "waves"})
	h.add(7, &Line{Seq: 9, Time: time.UnixMicro(1e15 + 5), Kind: Message, Text: "hello"})
	f.Add(h.tail[0].encode()[blockHead:])
	f.Add([]byte{0, 0, 1, 255, 'x'})
	f.Fuzz(func(t *testing.T, v []byte) {
		b := block{room: 7, first: 1, buf: append(make([]byte, blockHead), v...)}
		lines := linesOf(&b)
		again := block{room: 7}
		for _, l := range lines {
			again.add(l.Seq, l.Time.UnixMicro(), l.Kind, l.From, l.Text)
		}
		if len(lines) > 0 && !slices.Equal(linesOf(&again), lines) {
			t.Errorf("%x decodes to %+v, that to %+v", v, lines, linesOf(&again))
		}
	})
}

func FuzzDecodeBlock(f *testing.F) {
	h := head{}
	h.add(7, &Line{Seq: 3, Time: time.UnixMicro(1e15), Kind: Action, From: "ann", Text: "waves"})
	f.Add(u64(3), h.tail[0].encode(), 0)
	f.Fuzz(func(t *testing.T, k, v []byte, flip int) {
		b, err := decodeBlock(7, k, v)
		if err != nil {
			return
		}
		if !bytes.Equal(bytes.Clone(b.encode()), v) || b.room != 7 {
			t.Errorf("%x decodes to %+v", v, b)
		}
		if flip >= 0 && flip < 8*len(v) {
			v = bytes.Clone(v)
			v[flip/8] ^= 1 << (flip % 8)
			if _, err := decodeBlock(7, k, v); err == nil {
				t.Errorf("bit %d of %x is not missed", flip, v)
			}
		}
	})
}

func FuzzBlock(f *testing.F) {
	f.Add(uint64(1), uint64(1), int64(0), int64(1), uint8(1), "ann", "hello")
	f.Add(^uint64(0)-1, uint64(1), int64(-1), int64(-1e6), uint8(3), "", "\x00\xff")
	f.Fuzz(func(t *testing.T, seq, step uint64, micros, later int64, kind uint8, from, text string) {
		if kind = 1 + kind%3; len(from) > 255 {
			from = from[:255]
		}
		if seq+step <= seq || seq == 0 {
			t.Skip()
		}
		one := Line{Seq: seq, Time: time.UnixMicro(micros).UTC(), Kind: Kind(kind), From: from, Text: text}
		two := Line{Seq: seq + step, Time: time.UnixMicro(micros + later).UTC(), Kind: Message, From: "b", Text: text}
		b := block{room: 7}
		var record []byte
		for _, l := range []Line{one, two} {
			b.add(l.Seq, l.Time.UnixMicro(), l.Kind, l.From, l.Text)
			record = appendPost(record, 7, &l, l.Time.UnixMicro())
		}
		got, err := decodeBlock(7, u64(seq), b.encode())
		if lines := linesOf(&got); err != nil || !slices.Equal(lines, []Line{one, two}) {
			t.Errorf("%+v %+v became %+v, %v", one, two, lines, err)
		}
		if rest := got.after(seq); !slices.Equal(linesOf(&rest), []Line{two}) {
			t.Errorf("after %d: %+v", seq, linesOf(&rest))
		}
		var lines []Line
		if !decodePosts(record, func(room uint64, l Line) { lines = append(lines, l) }) || !slices.Equal(lines, []Line{one, two}) {
			t.Errorf("%+v %+v in the journal became %+v", one, two, lines)
		}
	})
}
