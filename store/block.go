package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A block is consecutive lines of one room: the value of lines/<room>/<first>.
//
//	checksum  4  CRC-32C of what follows
//	room      8
//	first     8  sequence number of the first line, equal to the key
//	last      8
//	time      8  of the first line, in microseconds
//	end       8  of the last line
//	lines     4
//	size      4  sum of the lines' weights
//
// and then the lines, each as appendLine writes it. The newest lines of a room
// are in blocks as well, in memory until they are folded; only there is the
// head of the block not filled in.
type block struct {
	room, first, last uint64
	time, end         int64
	lines, size       uint32
	buf               []byte // blockHead bytes, then the lines
}

const (
	blockHead = 52
	// blockBytes is about how long a block gets. Longer ones waste less of the
	// last page, shorter ones are read faster and give space back earlier.
	blockBytes = 8 << 10
	// lineWeight is what a line counts in Stat.Bytes beside its nick and text.
	lineWeight = 18
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errBlock = errors.New("a block of lines is damaged")
)

func weight(from, text int) uint64 { return uint64(lineWeight + from + text) }

// appendLine appends a line as it follows one with the given number and time:
// distance of the numbers, distance of the times in microseconds, kind, length
// of the nick, nick, length of the text, text.
func appendLine(b []byte, seq uint64, micros int64, kind Kind, from, text string) []byte {
	b = binary.AppendUvarint(b, seq)
	b = binary.AppendVarint(b, micros)
	b = append(b, byte(kind), byte(len(from)))
	b = append(b, from...)
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

// add appends a line, whose number is greater than those before.
func (b *block) add(seq uint64, micros int64, kind Kind, from, text string) {
	if b.lines == 0 {
		b.first, b.last, b.time, b.end = seq, seq, micros, micros
		if b.buf == nil {
			b.buf = make([]byte, blockHead, blockHead+2*(len(from)+len(text)+lineWeight))
		}
	}
	b.buf = appendLine(b.buf, seq-b.last, micros-b.end, kind, from, text)
	b.last, b.end = seq, micros
	b.lines++
	b.size += uint32(weight(len(from), len(text)))
}

// full reports whether the next line goes into another block.
func (b *block) full() bool { return len(b.buf) >= blockBytes }

// encode fills in the head and returns the whole.
func (b *block) encode() []byte {
	h := b.buf[:4:blockHead]
	h = binary.BigEndian.AppendUint64(h, b.room)
	h = binary.BigEndian.AppendUint64(h, b.first)
	h = binary.BigEndian.AppendUint64(h, b.last)
	h = binary.BigEndian.AppendUint64(h, uint64(b.time))
	h = binary.BigEndian.AppendUint64(h, uint64(b.end))
	h = binary.BigEndian.AppendUint32(h, b.lines)
	binary.BigEndian.AppendUint32(h, b.size)
	binary.BigEndian.PutUint32(b.buf, crc32.Checksum(b.buf[4:], castagnoli))
	return b.buf
}

// decodeBlock reads a block of that room; it refers to v. What it returns
// without an error is what encode was given, however the file was damaged.
func decodeBlock(room uint64, k, v []byte) (b block, err error) {
	if len(k) != 8 || len(v) <= blockHead || crc32.Checksum(v[4:], castagnoli) != binary.BigEndian.Uint32(v) {
		return b, errBlock
	}
	b = block{
		room:  binary.BigEndian.Uint64(v[4:]),
		first: binary.BigEndian.Uint64(v[12:]),
		last:  binary.BigEndian.Uint64(v[20:]),
		time:  int64(binary.BigEndian.Uint64(v[28:])),
		end:   int64(binary.BigEndian.Uint64(v[36:])),
		lines: binary.BigEndian.Uint32(v[44:]),
		size:  binary.BigEndian.Uint32(v[48:]),
		buf:   v,
	}
	if b.room != room || b.first != binary.BigEndian.Uint64(k) {
		return block{}, fmt.Errorf("%w: it belongs to room %d at %d", errBlock, b.room, b.first)
	}
	return b, nil
}

// scan goes through the lines of a block.
type scan struct {
	buf    []byte
	base   int // where the lines begin in buf
	at     int
	seq    uint64
	micros int64
	kind   Kind
	// Where the current line's nick and text are in buf.
	from, fromEnd, text int
	bad                 bool // what follows does not decode
}

func (b *block) scan() scan {
	return scan{buf: b.buf, base: blockHead, at: blockHead, seq: b.first, micros: b.time}
}

// next moves to the next line, if there is one.
func (s *scan) next() bool {
	rest := s.buf[s.at:]
	if len(rest) == 0 || s.bad {
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
	s.seq += seq
	s.micros += micros
	s.kind = kind
	s.from = s.at + nick
	s.fromEnd = s.from + from
	s.text = s.fromEnd + n
	s.at = s.text + int(size)
	return true
}

func (s *scan) fail() bool {
	s.bad = true
	return false
}

func (s *scan) weight() uint64 { return weight(s.fromEnd-s.from, s.at-s.text) }

// lines is all lines as a string: those that line returns share it. The head of
// a block is not in it, as the committer may be filling it in.
func (s *scan) lines() string { return string(s.buf[s.base:]) }

// line returns the current line, given what lines returned.
func (s *scan) line(lines string) Line {
	return Line{
		Seq:  s.seq,
		Time: time.UnixMicro(s.micros).UTC(),
		Kind: s.kind,
		From: lines[s.from-s.base : s.fromEnd-s.base],
		Text: lines[s.text-s.base : s.at-s.base],
	}
}

// after returns a block of the lines with Seq > seq.
func (b *block) after(seq uint64) block {
	rest := block{room: b.room}
	rest.addAll(b, seq)
	return rest
}

// addAll appends the lines of another block with Seq > after.
func (b *block) addAll(other *block, after uint64) {
	s := other.scan()
	for lines := s.lines(); s.next(); {
		if s.seq > after {
			l := s.line(lines)
			b.add(l.Seq, s.micros, l.Kind, l.From, l.Text)
		}
	}
}
