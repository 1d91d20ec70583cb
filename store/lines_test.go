package store

import (
	"bytes"
	"testing"
	"time"
)

func FuzzDecodeLine(f *testing.F) {
	l := Line{Time: time.UnixMicro(1e15), Kind: Action, From: "ann", Text: "waves"}
	f.Add(u64(7), l.encode())
	f.Add(u64(1), []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 255, 'x'})
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		l, err := decodeLine(k, v)
		if err != nil {
			if l != (Line{}) {
				t.Errorf("an error, and %+v", l)
			}
			return
		}
		if !bytes.Equal(l.encode(), v) || !bytes.Equal(u64(l.Seq), k) {
			t.Errorf("%x = %x decodes to %+v, that encodes to %x = %x", k, v, l, u64(l.Seq), l.encode())
		}
	})
}

func FuzzEncodeLine(f *testing.F) {
	f.Add(uint64(1), int64(0), uint8(1), "ann", "hello")
	f.Add(^uint64(0), int64(-1), uint8(3), "", "\x00\xff")
	f.Fuzz(func(t *testing.T, seq uint64, micros int64, kind uint8, from, text string) {
		if kind = 1 + kind%3; len(from) > 255 {
			from = from[:255]
		}
		l := Line{Seq: seq, Time: time.UnixMicro(micros).UTC(), Kind: Kind(kind), From: from, Text: text}
		if got, err := decodeLine(u64(seq), l.encode()); err != nil || got != l {
			t.Errorf("%+v became %+v, %v", l, got, err)
		}
	})
}
