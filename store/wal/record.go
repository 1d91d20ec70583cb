package wal

import (
	"encoding/binary"

	"roomd/store/block"
)

// AppendRecord appends the lines of a record, as Begin and AppendLine have made it, to a
// record that Write has not finished.
func AppendRecord(record, more []byte) []byte { return append(record, more[recordHead:]...) }

// AppendLine appends a line to a record; micros is its time, in microseconds since
// 1970.
func AppendLine(b []byte, room uint64, l *block.Line, micros int64) []byte {
	b = binary.AppendUvarint(b, room)
	return block.AppendLine(b, l.Seq, micros, l.Kind, l.From, l.Text)
}

// decodeLines calls line for each line of a record.
func decodeLines(b []byte, line func(room uint64, l block.Line)) bool {
	whole := string(b)
	for at := 0; at < len(b); {
		room, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return false
		}
		s := block.ScanLine(b, at+n)
		if !s.Next() {
			return false
		}
		line(room, s.Line(whole))
		at = s.End()
	}
	return true
}
