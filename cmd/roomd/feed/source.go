package feed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// LongPolicies are the values of Options.Long: a line that is too long for the server is
// skipped, sent without its end, sent as several lines, or ends the feed.
var LongPolicies = []string{"skip", "cut", "split", "fail"}

// maxLineBytes is the largest limits.line_bytes of a server.
const maxLineBytes = 64 << 10

// source cuts an input into lines that the server accepts. Its memory is bounded by a few times
// the longest accepted line, for any input.
type source struct {
	in    *bufio.Reader
	limit func() int // limits.line_bytes of the server; 0: unknown
	long  string     // one of LongPolicies

	offset int64 // bytes of the input that were read
}

func newSource(in io.Reader, long string, limit func() int) *source {
	return &source{in: bufio.NewReaderSize(in, 64<<10), limit: limit, long: long}
}

// bom is the byte order mark that some systems put before a text. It does not belong to the
// first line.
const bom = "\ufeff"

// entry is a line of the input, or a part of a line.
type entry struct {
	number    int    // of the line in the input, from 1
	text      string // to send
	truncated bool   // text is only the beginning of the line
	offset    int64  // bytes of the input up to the end of this line
	err       error  // why the line is not sent; nil: it is sent
}

// lineTooLong is why a line is not sent.
type lineTooLong struct{ bytes, limit int }

func (e lineTooLong) Error() string {
	return fmt.Sprintf("the line has %d bytes, the limit is %d", e.bytes, e.limit)
}

// each passes the lines of the input to put, in order, until the input ends or put returns false.
func (s *source) each(put func(entry) bool) error {
	for number := 1; ; number++ {
		most := min(s.limit(), maxLineBytes)
		if most <= 0 {
			most = maxLineBytes
		}
		var b []byte // what is kept of the line
		size := 0
		for end := false; !end; {
			chunk, err := s.in.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
			case errors.Is(err, io.EOF):
				if end = true; size == 0 && len(chunk) == 0 {
					return nil
				}
			case err != nil:
				return fmt.Errorf("line %d: %w", number, err)
			default:
				end = true
			}
			if s.offset == 0 {
				s.offset = int64(len(chunk))
				chunk = bytes.TrimPrefix(chunk, []byte(bom))
			} else {
				s.offset += int64(len(chunk))
			}
			chunk = bytes.TrimSuffix(chunk, []byte("\n"))
			size += len(chunk)
			if len(b) <= most+1 || s.long == "split" {
				b = append(b, chunk...)
			}
			if end && size == len(b) && bytes.HasSuffix(b, []byte("\r")) {
				b = b[:len(b)-1]
				size--
			}
			for s.long == "split" && (end && !fits(b, most) || len(b) > 2*most) {
				part := prefix(b, most)
				if !put(entry{number: number, text: string(part), offset: s.offset}) {
					return nil
				}
				b = b[len(part):]
			}
		}
		e := entry{number: number, text: string(b), offset: s.offset}
		if size > len(b) && s.long != "split" || !fits(b, most) {
			switch s.long {
			case "cut":
				e.text, e.truncated = string(prefix(b, most)), true
			default:
				e.text, e.err = "", lineTooLong{size, most}
			}
		}
		if !put(e) {
			return nil
		}
	}
}

// fits reports whether the server accepts the length of a line. A line that begins with / is
// sent with a second /.
func fits(b []byte, most int) bool {
	return len(b) <= most && (len(b) < most || b[0] != '/')
}

// prefix returns the longest beginning of a line that fits and does not end within a character:
// a letter stays with its combining marks, and joined emoji stay together.
func prefix(b []byte, most int) []byte {
	n := most
	if b[0] == '/' {
		n--
	}
	n = min(n, len(b))
	for range utf8.UTFMax - 1 { // bytes that are not UTF-8 have no boundary
		if n < len(b) && n > 1 && !utf8.RuneStart(b[n]) {
			n--
		}
	}
	const longest = 32 // bytes of a character; a longer sequence of marks is cut
	for at := n; at > 1 && at > n-longest; {
		before, size := utf8.DecodeLastRune(b[:at])
		after, _ := utf8.DecodeRune(b[at:])
		if at == len(b) || !sameCharacter(before, after) {
			return b[:at]
		}
		at -= size
	}
	return b[:n]
}

// sameCharacter reports whether two runes are shown as one character.
func sameCharacter(before, after rune) bool {
	const joiner = '\u200d'
	return before == joiner || after == joiner || after == '\u200c' || unicode.Is(unicode.M, after) || after >= 0x1f3fb && after <= 0x1f3ff
}
