package wire

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// maxSubnegotiation is how many bytes are swallowed after IAC SB at most, the
// IAC SE that ends them included: a stream of text must not vanish for two stray
// bytes.
const maxSubnegotiation = 512

// byteOrderMark is what some systems put before a text.
const byteOrderMark = "\ufeff"

// Where a Framer is in the stream, as Framer.head has it. Below tlsHead that many
// bytes have come, and they are as those of TLS.
const (
	firstLineDone = tlsPrefix     // the first line is complete
	inFirstLine   = tlsPrefix + 1 // it is not, and it is not TLS
)

// Framer cuts a stream of bytes into lines and takes telnet out of it (RFC 854
// and 855): it swallows what is negotiated, and notes what is to be answered. A
// line ends with LF, CR LF or CR NUL. Once the stream has been seen to be a telnet
// client's a CR alone ends one, too, and BS and DEL take a character back, as such
// a client may send each key as it is pressed. A byte order mark at the beginning
// is dropped. A stream that begins with bytes that no text has is cut there, for
// Foreign: such a peer may wait for ever before it sends a line end. A Framer
// holds no buffer while there is no unfinished line, and never more than the
// limit asks for. It is made by NewFramer and belongs to one goroutine.
type Framer struct {
	limit    int
	head     uint8 // see opened
	mark     uint8 // bytes of the stream that are as those of a byte order mark
	state    telnetState
	isTelnet bool            // it is a telnet client's
	afterCR  bool            // the last line ended with CR: a LF or NUL belongs to it
	lastCR   bool            // the unfinished line's last byte is a CR
	subSize  int             // bytes of the subnegotiation so far
	size     int             // bytes of the unfinished line so far
	partial  []byte          // its first bytes, limit at most
	telnet   *telnetRequests // by telnet, and not answered yet
}

// NewFramer makes a Framer for lines of up to limit bytes, at least 1, counted
// without the ending and without telnet negotiation.
func NewFramer(limit int) Framer { return Framer{limit: limit} }

// Cut takes bytes as they came and returns the first line that they complete,
// without its ending, and the bytes behind it for the next call. ok is false
// when they complete none: then all of them have been taken in. The line is
// good until the next call, or until p is changed. If it is longer than the
// limit, over is its size in bytes (at most math.MaxInt) and the line itself is
// only its head, of limit bytes. If the first line turns out to be no text, what
// has come of it is the line, and what came with that.
func (f *Framer) Cut(p []byte) (line []byte, over int, rest []byte, ok bool) {
	if f.head != firstLineDone {
		return f.cutFirst(p)
	}
	if f.state == inText && f.size == 0 && !f.isTelnet {
		// The usual case: whole lines, which need no copy.
		if i := bytes.IndexByte(p, '\n'); i >= 0 && bytes.IndexByte(p[:i], telnetIAC) < 0 && bytes.IndexByte(p[:i], 0) < 0 {
			line, over = f.trimLine(p[:i])
			return line, over, p[i+1:], true
		}
	}
	return f.cut(p)
}

// cutFirst is Cut until there was a line that is not blank.
func (f *Framer) cutFirst(p []byte) (line []byte, over int, rest []byte, ok bool) {
	for f.head < tlsPrefix && len(p) > 0 {
		switch b := p[0]; {
		case f.head == 0 && int(f.mark) < len(byteOrderMark) && b == byteOrderMark[f.mark]:
			f.mark++
		case f.mark > 0 && int(f.mark) < len(byteOrderMark): // it is none
			f.addMark()
			f.head = inFirstLine
			continue
		case f.continuesTLS(b):
			f.add(p[:1])
			f.head++
		case f.size > 0:
			f.head = inFirstLine
			return f.cutBinary(p)
		default:
			f.head = inFirstLine
			continue
		}
		if p = p[1:]; f.head == tlsPrefix {
			return f.cutBinary(p)
		}
	}
	if f.head < tlsPrefix {
		return nil, 0, nil, false
	}
	if line, over, rest, ok = f.cut(p); ok && (over > 0 || !IsBlank(line)) {
		f.head = firstLineDone
	}
	return line, over, rest, ok
}

// addMark makes text of the beginning of a byte order mark.
func (f *Framer) addMark() {
	f.add([]byte(byteOrderMark[:f.mark]))
	f.mark = uint8(len(byteOrderMark))
}

// cutBinary makes a line of all that there is: it is no text.
func (f *Framer) cutBinary(p []byte) (line []byte, over int, rest []byte, ok bool) {
	f.add(p)
	f.head = firstLineDone
	f.lastCR, f.isTelnet = false, false
	line, over = f.endLine()
	return line, over, nil, true
}

// Classes of bytes, which cut looks for.
const (
	classEnd       = 1 << iota // what may end a line or begin a telnet sequence
	classTelnetEnd             // what ends a line that is typed
	classBinary                // what no text has
)

// classes has what each byte is. What text may have of the control characters is
// as file(1) sees it: BEL, BS, tab, LF, VT, FF, CR and ESC. They are keys that
// people press, and escape sequences.
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
		if f.afterCR {
			if f.afterCR = false; p[i] == '\n' || p[i] == 0 {
				i++
				continue
			}
		}
		if f.state != inText {
			i += f.handleTelnet(p[i])
			continue
		}
		mask := uint8(classEnd)
		if f.isTelnet {
			mask |= classTelnetEnd
		}
		if f.head == inFirstLine {
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
			f.state = inIAC
		case b == '\n':
			line, over = f.endLine()
			return line, over, p[i+1:], true
		case b == '\r': // typed
			f.afterCR, f.lastCR = true, false
			line, over = f.endLine()
			return line, over, p[i+1:], true
		case b == 0 && f.lastCR:
			f.isTelnet = true
			line, over = f.endLine()
			return line, over, p[i+1:], true
		case f.head == inFirstLine && f.size < f.limit && !isOurs(f.partial):
			return f.cutBinary(p[i:])
		default: // a NUL, or behind a head that is text
			f.add(p[i : i+1])
		}
		i++
	}
	return nil, 0, nil, false
}

// Tail returns the unfinished last line of a stream that has ended. ok is false
// if there is none; half a telnet sequence is none. After it the Framer is as
// new.
func (f *Framer) Tail() (line []byte, over int, ok bool) {
	if int(f.mark) < len(byteOrderMark) {
		f.addMark()
	}
	if ok = f.size > 0; ok {
		line, over = f.endLine()
	}
	*f = NewFramer(f.limit)
	return line, over, ok
}

// continuesTLS reports whether the next byte of the stream goes on like TLS.
func (f *Framer) continuesTLS(b byte) bool {
	head := [tlsPrefix]byte{0x16, 3}
	head[f.head] = b
	return isTLS(head[:f.head+1])
}

// add takes in bytes of the unfinished line. Beyond the limit they are counted
// only.
func (f *Framer) add(p []byte) {
	if len(p) == 0 {
		return
	}
	if f.size += len(p); f.size < 0 {
		f.size = math.MaxInt
	}
	f.lastCR = p[len(p)-1] == '\r'
	if room := f.limit - len(f.partial); room > 0 {
		f.partial = append(f.partial, p[:min(room, len(p))]...)
	}
}

// endLine ends the unfinished line.
func (f *Framer) endLine() (line []byte, over int) {
	size := f.size
	if f.lastCR {
		size--
	}
	line = f.partial[:min(size, len(f.partial))]
	if size > f.limit {
		over = size
	} else if f.isTelnet {
		line = applyErasing(line)
	}
	f.partial, f.size, f.lastCR = nil, 0, false
	if line == nil {
		line = []byte{}
	}
	return line, over
}

// applyErasing carries out the BS and DEL in a line: each takes back the character
// before it.
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

// trimLine is take for a line that lies whole in the input.
func (f *Framer) trimLine(p []byte) (line []byte, over int) {
	if n := len(p); n > 0 && p[n-1] == '\r' {
		p = p[:n-1]
	}
	n := min(len(p), f.limit)
	if len(p) > f.limit {
		over = len(p)
	}
	return p[:n:n], over // whoever appends to it must not write to the next line
}
