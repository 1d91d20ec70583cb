package wire

import (
	"bytes"
	"math"
)

// Telnet commands (RFC 854).
const (
	telnetSE   = 240
	telnetSB   = 250
	telnetWill = 251
	telnetIAC  = 255
)

// maxSubnegotiation is how many bytes are swallowed after IAC SB at most, the
// IAC SE that ends them included: a stream of text must not vanish for two stray
// bytes.
const maxSubnegotiation = 512

// telnetState is where the framer is inside a telnet sequence.
type telnetState uint8

const (
	inText   telnetState = iota
	inIAC                // after IAC
	inOpt                // after WILL, WONT, DO or DONT: an option follows
	inSub                // inside a subnegotiation
	inSubIAC             // inside a subnegotiation, after IAC
)

// Framer cuts a stream of bytes into lines and swallows telnet negotiation (RFC
// 854 and 855). A stream that begins like TLS has these bytes as its first line,
// for Foreign: such a peer may wait for ever before it sends a line end. A Framer
// holds no buffer while there is no unfinished line, and never more than the
// limit asks for. It is made by NewFramer and belongs to one goroutine.
type Framer struct {
	limit  int
	head   uint8 // bytes of the stream that are as those of TLS; tlsHead: it is known
	state  telnetState
	sub    int    // bytes of the subnegotiation so far
	size   int    // bytes of the unfinished line so far
	lastCR bool   // its last byte is a CR
	part   []byte // its first bytes, limit at most
}

// NewFramer makes a Framer for lines of up to limit bytes, at least 1, counted
// without the ending and without telnet negotiation.
func NewFramer(limit int) Framer { return Framer{limit: limit} }

// Cut takes bytes as they came and returns the first line that they complete,
// without its ending, and the bytes behind it for the next call. ok is false
// when they complete none: then all of them have been taken in. The line is
// good until the next call, or until p is changed. If it is longer than the
// limit, over is its size in bytes (at most math.MaxInt) and the line itself is
// only its head, of limit bytes.
func (f *Framer) Cut(p []byte) (line []byte, over int, rest []byte, ok bool) {
	for f.head < tlsHead && len(p) > 0 {
		if !f.likeTLS(p[0]) {
			f.head = tlsHead
			break
		}
		f.add(p[:1])
		p = p[1:]
		if f.head++; f.head == tlsHead {
			line, over = f.take()
			return line, over, p, true
		}
	}
	if f.state == inText && f.size == 0 {
		// The usual case: whole lines, which need no copy.
		if i := bytes.IndexByte(p, '\n'); i >= 0 && bytes.IndexByte(p[:i], telnetIAC) < 0 {
			line, over = f.fit(p[:i])
			return line, over, p[i+1:], true
		}
	}
	for i := 0; i < len(p); {
		if f.state != inText {
			i += f.telnet(p[i])
			continue
		}
		// IAC first: in a flood of them, looking for line ends first would go
		// over all of p for each.
		run := p[i:]
		if n := bytes.IndexByte(run, telnetIAC); n >= 0 {
			run = run[:n]
		}
		if n := bytes.IndexByte(run, '\n'); n >= 0 {
			run = run[:n]
		}
		f.add(run)
		if i += len(run); i == len(p) {
			break
		}
		if p[i] == telnetIAC {
			f.state = inIAC
			i++
			continue
		}
		line, over = f.take()
		return line, over, p[i+1:], true
	}
	return nil, 0, nil, false
}

// Tail returns the unfinished last line of a stream that has ended. ok is false
// if there is none; half a telnet sequence is none. After it the Framer is as
// new.
func (f *Framer) Tail() (line []byte, over int, ok bool) {
	f.state, f.head = inText, 0
	if f.size == 0 {
		return nil, 0, false
	}
	line, over = f.take()
	return line, over, true
}

// likeTLS reports whether the next byte of the stream goes on like TLS.
func (f *Framer) likeTLS(b byte) bool {
	head := [tlsHead]byte{0x16, 3}
	head[f.head] = b
	return isTLS(head[:f.head+1])
}

// telnet takes one byte inside a sequence and returns how many bytes that used
// up: none if it belongs to the text after all.
func (f *Framer) telnet(b byte) int {
	switch f.state {
	case inIAC:
		switch {
		case b == telnetIAC: // an escaped 255
			f.state = inText
			f.add([]byte{telnetIAC})
		case b >= telnetWill:
			f.state = inOpt
		case b == telnetSB:
			f.state, f.sub = inSub, 0
		case b >= telnetSE:
			f.state = inText
		default: // not telnet at all
			f.state = inText
			f.add([]byte{telnetIAC})
			return 0
		}
	case inOpt:
		f.state = inText
	default:
		f.sub++
		switch {
		case f.sub == maxSubnegotiation, f.state == inSubIAC && b == telnetSE:
			f.state = inText
		case f.state == inSub && b == telnetIAC:
			f.state = inSubIAC
		default: // an escaped 255 among others
			f.state = inSub
		}
	}
	return 1
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
	if room := f.limit - len(f.part); room > 0 {
		f.part = append(f.part, p[:min(room, len(p))]...)
	}
}

// take ends the unfinished line.
func (f *Framer) take() (line []byte, over int) {
	size := f.size
	if f.lastCR {
		size--
	}
	line = f.part[:min(size, len(f.part))]
	if size > f.limit {
		over = size
	}
	f.part, f.size, f.lastCR = nil, 0, false
	return line, over
}

// fit is take for a line that lies whole in the input.
func (f *Framer) fit(p []byte) (line []byte, over int) {
	if n := len(p); n > 0 && p[n-1] == '\r' {
		p = p[:n-1]
	}
	n := min(len(p), f.limit)
	if len(p) > f.limit {
		over = len(p)
	}
	return p[:n:n], over // whoever appends to it must not write to the next line
}
