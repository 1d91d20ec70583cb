package wire

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// maxSubnegotiation bounds the bytes that are dropped after IAC SB, with the IAC SE that ends
// them: two stray bytes must not make a stream of text vanish.
const maxSubnegotiation = 512

// byteOrderMark is what some systems put before a text.
const byteOrderMark = "\ufeff"

// Values of FramerState.Head. Below tlsPrefix it counts the first bytes of the stream, which
// are like those of TLS.
const (
	firstLineDone = tlsPrefix     // the first line is complete
	inFirstLine   = tlsPrefix + 1 // the first line is incomplete, and is not TLS
)

// Framer cuts a stream of bytes into lines and takes telnet out of it (RFC 854 and 855): it
// drops negotiation, and notes what is to be answered. A line ends with LF, CR LF or CR NUL.
// Once the client has spoken telnet, a CR alone ends a line too, and BS and DEL erase a
// character, as such a client may send each key as it is pressed. A byte order mark at the
// beginning is dropped. A stream that begins with bytes that no text has is cut there, for
// DetectProtocol: such a peer may wait for ever before it sends a line end.
//
// A Framer has no buffer while there is no unfinished line, and never more than the limit
// needs. NewFramer makes one. It belongs to one goroutine.
type Framer struct {
	limit int
	FramerState
	telnet *telnetRequests // not answered yet; nil: none
}

// FramerState is where a Framer is in its stream, for a process that goes on with the stream.
// The zero value is at the beginning.
type FramerState struct {
	Telnet   telnetState `json:"telnet,omitempty"`
	IsTelnet bool        `json:"typed,omitempty"`    // the client has spoken telnet
	LastCR   bool        `json:"cr,omitempty"`       // the unfinished line ends with a CR
	AfterCR  bool        `json:"after_cr,omitempty"` // a CR has ended the last line: a LF or NUL belongs to it
	Head     uint8       `json:"head,omitempty"`     // see firstLineDone
	Mark     uint8       `json:"mark,omitempty"`     // bytes of the stream that are like those of a byte order mark
	SubSize  uint16      `json:"sub,omitempty"`      // bytes of the subnegotiation so far
	Size     int         `json:"size,omitempty"`     // bytes of the unfinished line so far
	Partial  []byte      `json:"part,omitempty"`     // its first bytes, limit at most
}

// NewFramer makes a Framer for lines of up to limit bytes, at least 1, not counting the line
// end and telnet negotiation.
func NewFramer(limit int) Framer { return Framer{limit: limit} }

// RestoreFramer makes a Framer for lines of up to limit bytes that goes on in another state.
// Bytes of the unfinished line beyond the limit are forgotten, as they would not be there.
func RestoreFramer(limit int, s FramerState) Framer {
	if s.Telnet > inDo {
		s.Telnet = inText
	}
	if s.Head > inFirstLine {
		s.Head = firstLineDone
	}
	s.Mark = min(s.Mark, uint8(len(byteOrderMark)))
	s.Size = max(s.Size, len(s.Partial))
	if s.Partial = s.Partial[:min(len(s.Partial), limit)]; len(s.Partial) == 0 {
		s.Partial = nil
	}
	return Framer{limit: limit, FramerState: s}
}

// Cut takes the next bytes of the stream and returns the first line that they complete,
// without its line end, and the bytes after it for the next call. ok is false if they
// complete no line: then the Framer has taken all of them. The line is valid until the next
// call, or until p is changed. If it is longer than the limit, over is its size in bytes (at
// most math.MaxInt) and line is its head, of limit bytes. If the first line is no text, line
// is all that has come.
func (f *Framer) Cut(p []byte) (line []byte, over int, rest []byte, ok bool) {
	if f.Head != firstLineDone {
		return f.cutFirst(p)
	}
	if f.Telnet == inText && f.Size == 0 && !f.IsTelnet {
		// The usual case: whole lines, which need no copy.
		if i := bytes.IndexByte(p, '\n'); i >= 0 && bytes.IndexByte(p[:i], telnetIAC) < 0 && bytes.IndexByte(p[:i], 0) < 0 {
			line, over = f.trimLine(p[:i])
			return line, over, p[i+1:], true
		}
	}
	return f.cut(p)
}

// cutFirst is Cut until the first line that is not blank.
func (f *Framer) cutFirst(p []byte) (line []byte, over int, rest []byte, ok bool) {
	for f.Head < tlsPrefix && len(p) > 0 {
		switch b := p[0]; {
		case f.Head == 0 && int(f.Mark) < len(byteOrderMark) && b == byteOrderMark[f.Mark]:
			f.Mark++
		case f.Mark > 0 && int(f.Mark) < len(byteOrderMark): // it is no byte order mark
			f.addMark()
			f.Head = inFirstLine
			continue
		case f.continuesTLS(b):
			f.add(p[:1])
			f.Head++
		case f.Size > 0:
			f.Head = inFirstLine
			return f.cutBinary(p)
		default:
			f.Head = inFirstLine
			continue
		}
		if p = p[1:]; f.Head == tlsPrefix {
			return f.cutBinary(p)
		}
	}
	if f.Head < tlsPrefix {
		return nil, 0, nil, false
	}
	if line, over, rest, ok = f.cut(p); ok && (over > 0 || !IsBlank(line)) {
		f.Head = firstLineDone
	}
	return line, over, rest, ok
}

// addMark adds the beginning of a byte order mark to the line.
func (f *Framer) addMark() {
	f.add([]byte(byteOrderMark[:f.Mark]))
	f.Mark = uint8(len(byteOrderMark))
}

// cutBinary makes a line of all bytes so far: they are no text.
func (f *Framer) cutBinary(p []byte) (line []byte, over int, rest []byte, ok bool) {
	f.add(p)
	f.Head = firstLineDone
	f.LastCR, f.IsTelnet = false, false
	line, over = f.endLine()
	return line, over, nil, true
}

// Classes of bytes that cut looks for.
const (
	classEnd       = 1 << iota // may end a line or begin a telnet sequence
	classTelnetEnd             // ends a line of a telnet client
	classBinary                // no text has it
)

// classes has the classes of each byte. As for file(1), a text may have these control
// characters: BEL, BS, tab, LF, VT, FF, CR and ESC. They are keys that people press, and
// parts of escape sequences.
var classes = func() (c [256]uint8) {
	for b := range byte(' ') {
		if (b < 0x07 || b > 0x0d) && b != 0x1b {
			c[b] |= classBinary
		}
	}
	c['\n'] |= classEnd
	c[0] |= classEnd
	c[telnetIAC] |= classEnd
	c['\r'] |= classTelnetEnd
	return c
}()

// cut is Cut, byte by byte.
func (f *Framer) cut(p []byte) (line []byte, over int, rest []byte, ok bool) {
	for i := 0; i < len(p); {
		if f.AfterCR {
			if f.AfterCR = false; p[i] == '\n' || p[i] == 0 {
				i++
				continue
			}
		}
		if f.Telnet != inText {
			i += f.handleTelnet(p[i])
			continue
		}
		mask := uint8(classEnd)
		if f.IsTelnet {
			mask |= classTelnetEnd
		}
		if f.Head == inFirstLine {
			mask |= classBinary
		}
		end := i
		for end < len(p) && classes[p[end]]&mask == 0 {
			end++
		}
		f.add(p[i:end])
		if i = end; i == len(p) {
			break
		}
		switch b := p[i]; {
		case b == telnetIAC:
			f.Telnet = inIAC
		case b == '\n', b == '\r', b == 0 && f.LastCR:
			f.IsTelnet = f.IsTelnet || b == 0
			if f.AfterCR = b == '\r'; f.AfterCR {
				f.LastCR = false // it is one of the line
			}
			line, over = f.endLine()
			return line, over, p[i+1:], true
		case f.Head == inFirstLine && f.Size < f.limit && !isOurs(f.Partial):
			return f.cutBinary(p[i:])
		default: // a NUL, or a byte of a line that begins as text
			f.add(p[i : i+1])
		}
		i++
	}
	return nil, 0, nil, false
}

// Tail returns the unfinished last line of a stream that has ended; half a telnet sequence is
// no line. After Tail the Framer is as new.
func (f *Framer) Tail() (line []byte, over int, ok bool) {
	if int(f.Mark) < len(byteOrderMark) {
		f.addMark()
	}
	if ok = f.Size > 0; ok {
		line, over = f.endLine()
	}
	*f = NewFramer(f.limit)
	return line, over, ok
}

// continuesTLS reports whether the stream is like TLS up to its next byte b.
func (f *Framer) continuesTLS(b byte) bool {
	head := [tlsPrefix]byte{0x16, 3}
	head[f.Head] = b
	return isTLS(head[:f.Head+1])
}

// add adds bytes to the unfinished line. Beyond the limit it only counts them.
func (f *Framer) add(p []byte) {
	if len(p) == 0 {
		return
	}
	if f.Size += len(p); f.Size < 0 {
		f.Size = math.MaxInt
	}
	f.LastCR = p[len(p)-1] == '\r'
	if room := f.limit - len(f.Partial); room > 0 {
		f.Partial = append(f.Partial, p[:min(room, len(p))]...)
	}
}

// endLine ends the unfinished line.
func (f *Framer) endLine() (line []byte, over int) {
	size := f.Size
	if f.LastCR {
		size--
	}
	line = f.Partial[:min(size, len(f.Partial))]
	if size > f.limit {
		over = size
	} else if f.IsTelnet {
		line = applyErasing(line)
	}
	f.Partial, f.Size, f.LastCR = nil, 0, false
	if line == nil {
		line = []byte{}
	}
	return line, over
}

// applyErasing applies the BS and DEL in a line: each erases the character before it.
func applyErasing(line []byte) []byte {
	const erasing = "\b\x7f"
	if !bytes.ContainsAny(line, erasing) {
		return line
	}
	kept := line[:0]
	for _, b := range line {
		if b != '\b' && b != 0x7f {
			kept = append(kept, b)
			continue
		}
		_, n := utf8.DecodeLastRune(kept)
		kept = kept[:len(kept)-n]
	}
	return kept
}

// trimLine is endLine for a line that is whole in the input.
func (f *Framer) trimLine(p []byte) (line []byte, over int) {
	if n := len(p); n > 0 && p[n-1] == '\r' {
		p = p[:n-1]
	}
	n := min(len(p), f.limit)
	if len(p) > f.limit {
		over = len(p)
	}
	return p[:n:n], over // an append to it must not write to the next line
}
