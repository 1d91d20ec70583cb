package block

import (
	"encoding/binary"
	"time"
)

// Scan goes through lines in their order, as AppendLine has written them.
type Scan struct {
	// Of the current line: its number, and its time in microseconds since 1970.
	Seq    uint64
	Micros int64
	// Corrupt is set when what follows does not decode.
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

// ScanLine reads the one line that begins at buf[at:], with its own number and
// time and not the distance from one before.
func ScanLine(buf []byte, at int) Scan { return Scan{buf: buf, at: at} }

// End is where the current line ends in the bytes that are read.
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

// Weight is what the current line counts in the bytes of a room.
func (s *Scan) Weight() uint64 { return Weight(s.fromEnd-s.from, s.at-s.text) }

// Whole is all lines as a string: those that Line returns share it. The head of
// a block is not in it, as the committer may be filling it in.
func (s *Scan) Whole() string { return string(s.buf[s.base:]) }

// Line returns the current line, given what Whole returned.
func (s *Scan) Line(whole string) Line {
	return Line{
		Seq:  s.Seq,
		Time: time.UnixMicro(s.Micros).UTC(),
		Kind: s.kind,
		From: whole[s.from-s.base : s.fromEnd-s.base],
		Text: whole[s.text-s.base : s.at-s.base],
	}
}
