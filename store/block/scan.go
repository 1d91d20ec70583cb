package block

import (
	"encoding/binary"
	"time"
)

// Scan iterates over lines as AppendLine has written them.
type Scan struct {
	// Of the current line: its number, and its time in microseconds since 1970.
	Seq    uint64
	Micros int64
	// Corrupt is set when the next line does not decode.
	Corrupt bool

	buf  []byte
	base int // where the lines begin in buf
	at   int
	kind Kind
	// Where the current line's nick and text are in buf.
	from, fromEnd, text int
}

// Scan begins before the first line of the block.
func (b *Block) Scan() Scan {
	return Scan{buf: b.buf, base: HeaderBytes, at: HeaderBytes, Seq: b.First, Micros: b.time}
}

// ScanLine begins before the line at buf[at:], which has its number and its time and not
// the differences to the line before.
func ScanLine(buf []byte, at int) Scan { return Scan{buf: buf, at: at} }

// End returns the offset of the end of the current line.
func (s *Scan) End() int { return s.at }

// Next moves to the next line, if there is one.
func (s *Scan) Next() bool {
	rest := s.buf[s.at:]
	if len(rest) == 0 || s.Corrupt {
		return false
	}
	seq, n := binary.Uvarint(rest)
	micros, m := binary.Varint(rest[max(n, 0):])
	nick := n + m + 2
	if n <= 0 || m <= 0 || len(rest) < nick {
		return s.fail()
	}
	kind, from := Kind(rest[nick-2]), int(rest[nick-1])
	if kind < Message || kind > Topic || len(rest) < nick+from {
		return s.fail()
	}
	size, n := binary.Uvarint(rest[nick+from:])
	if n <= 0 || size > uint64(len(rest)-nick-from-n) {
		return s.fail()
	}
	if kind == Message && n > 1 && rest[nick+from+n-1] == 0 {
		kind = Notice // see AppendLine
	}
	s.Seq += seq
	s.Micros += micros
	s.kind = kind
	s.from = s.at + nick
	s.fromEnd = s.from + from
	s.text = s.fromEnd + n
	s.at = s.text + int(size)
	return true
}

func (s *Scan) fail() bool {
	s.Corrupt = true
	return false
}

// Weight returns the weight of the current line in the bytes of a room.
func (s *Scan) Weight() uint64 { return Weight(s.fromEnd-s.from, s.at-s.text) }

// Whole returns all lines as one string, which the results of Line share. It does not
// contain the header, which the committer may be writing.
func (s *Scan) Whole() string { return string(s.buf[s.base:]) }

// Line returns the current line, given the result of Whole.
func (s *Scan) Line(whole string) Line {
	return Line{
		Seq:  s.Seq,
		Time: time.UnixMicro(s.Micros).UTC(),
		Kind: s.kind,
		From: whole[s.from-s.base : s.fromEnd-s.base],
		Text: whole[s.text-s.base : s.at-s.base],
	}
}
