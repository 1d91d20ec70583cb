package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Block is consecutive lines of one room, of about Bytes bytes. Encoded it is
//
//	checksum  4  CRC-32C of what follows
//	room      8
//	first     8  sequence number of the first line
//	last      8
//	time      8  of the first line, in microseconds
//	end       8  of the last line
//	lines     4
//	size      4  sum of the lines' weights
//
// and then the lines, each as AppendLine writes it. The first HeaderBytes bytes are
// written by Encode only. The zero value with a room is an empty block.
type Block struct {
	Room, First, Last uint64
	End               int64  // time of the last line, in microseconds since 1970
	Lines, Size       uint32 // number of lines, and the sum of their weights
	time              int64  // of the first line
	buf               []byte // Head bytes, then the lines
}

const (
	// HeaderBytes is the length of an encoded block before its lines.
	HeaderBytes = 52
	// TargetBytes is about the length of a full block. Longer blocks waste less of the
	// last page, shorter ones are read faster and free space earlier.
	TargetBytes = 8 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt is in the error of a block that does not decode.
var ErrCorrupt = errors.New("a block of lines is corrupt")

// Add appends a line, whose number is greater than those before.
func (b *Block) Add(seq uint64, micros int64, kind Kind, from, text string) {
	if b.Lines == 0 {
		b.First, b.Last, b.time, b.End = seq, seq, micros, micros
		if b.buf == nil {
			b.buf = make([]byte, HeaderBytes, HeaderBytes+2*(len(from)+len(text)+lineWeight))
		}
	}
	b.buf = AppendLine(b.buf, seq-b.Last, micros-b.End, kind, from, text)
	b.Last, b.End = seq, micros
	b.Lines++
	b.Size += uint32(Weight(len(from), len(text)))
}

// Start returns the time of the first line, in microseconds since 1970.
func (b *Block) Start() int64 { return b.time }

// Len returns how many bytes of memory the block takes.
func (b *Block) Len() int { return len(b.buf) }

// Full reports whether the next line goes into another block.
func (b *Block) Full() bool { return len(b.buf) >= TargetBytes }

// Encode writes the header and returns the whole block.
func (b *Block) Encode() []byte {
	h := b.buf[:4:HeaderBytes]
	h = binary.BigEndian.AppendUint64(h, b.Room)
	h = binary.BigEndian.AppendUint64(h, b.First)
	h = binary.BigEndian.AppendUint64(h, b.Last)
	h = binary.BigEndian.AppendUint64(h, uint64(b.time))
	h = binary.BigEndian.AppendUint64(h, uint64(b.End))
	h = binary.BigEndian.AppendUint32(h, b.Lines)
	binary.BigEndian.AppendUint32(h, b.Size)
	binary.BigEndian.PutUint32(b.buf, crc32.Checksum(b.buf[4:], castagnoli))
	return b.buf
}

// Decode decodes the block of a room with the key k, the number of its first line; the
// result refers to v. Without an error it is the block that was encoded, however the
// file was changed since.
func Decode(room uint64, k, v []byte) (b Block, err error) {
	if len(k) != 8 || len(v) <= HeaderBytes || crc32.Checksum(v[4:], castagnoli) != binary.BigEndian.Uint32(v) {
		return b, ErrCorrupt
	}
	b = Block{
		Room:  binary.BigEndian.Uint64(v[4:]),
		First: binary.BigEndian.Uint64(v[12:]),
		Last:  binary.BigEndian.Uint64(v[20:]),
		time:  int64(binary.BigEndian.Uint64(v[28:])),
		End:   int64(binary.BigEndian.Uint64(v[36:])),
		Lines: binary.BigEndian.Uint32(v[44:]),
		Size:  binary.BigEndian.Uint32(v[48:]),
		buf:   v,
	}
	if b.Room != room || b.First != binary.BigEndian.Uint64(k) {
		return Block{}, fmt.Errorf("%w: it belongs to room %d at %d", ErrCorrupt, b.Room, b.First)
	}
	return b, nil
}

// After returns a block of the lines with Seq > seq.
func (b *Block) After(seq uint64) Block {
	rest := Block{Room: b.Room}
	rest.AppendAfter(b, seq)
	return rest
}

// AppendAfter appends the lines of another block with Seq > after.
func (b *Block) AppendAfter(other *Block, after uint64) {
	s := other.Scan()
	for lines := s.Whole(); s.Next(); {
		if s.Seq > after {
			l := s.Line(lines)
			b.Add(l.Seq, s.Micros, l.Kind, l.From, l.Text)
		}
	}
}
