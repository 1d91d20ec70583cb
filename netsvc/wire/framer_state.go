package wire

// FramerState is where a Framer is in its stream, for a process that goes on
// with it. The zero value is between two lines.
type FramerState struct {
	Telnet  uint8  `json:"telnet,omitempty"`   // where in a telnet sequence
	Typed   bool   `json:"typed,omitempty"`    // the client speaks telnet
	Sub     int    `json:"sub,omitempty"`      // bytes of a subnegotiation so far
	Size    int    `json:"size,omitempty"`     // bytes of the unfinished line so far
	LastCR  bool   `json:"cr,omitempty"`       // the last of them is a CR
	AfterCR bool   `json:"after_cr,omitempty"` // a CR ended the last line
	Part    []byte `json:"part,omitempty"`     // the first of them
	Head    uint8  `json:"head,omitempty"`     // how far the first line is
	Mark    uint8  `json:"mark,omitempty"`     // bytes that may be a byte order mark
}

// State is where the framer is. What is to be answered is no part of it.
func (f *Framer) State() FramerState {
	return FramerState{
		Telnet: uint8(f.state), Typed: f.isTelnet, Sub: f.subSize, Size: f.size, LastCR: f.lastCR, AfterCR: f.afterCR,
		Part: f.partial, Head: f.head, Mark: f.mark,
	}
}

// RestoreFramer makes a framer for lines of up to limit bytes that goes on where another
// one was. What the other one has kept beyond the limit is forgotten, as it would
// not have been kept.
func RestoreFramer(limit int, s FramerState) Framer {
	f := NewFramer(limit)
	if s.Telnet <= uint8(inDo) {
		f.state = telnetState(s.Telnet)
	}
	if f.head = s.Head; f.head > inFirstLine {
		f.head = firstLineDone
	}
	f.mark = min(s.Mark, uint8(len(byteOrderMark)))
	f.subSize, f.size, f.lastCR = max(s.Sub, 0), max(s.Size, len(s.Part)), s.LastCR
	f.isTelnet, f.afterCR = s.Typed, s.AfterCR
	f.partial = s.Part[:min(len(s.Part), limit)]
	if len(f.partial) == 0 {
		f.partial = nil
	}
	return f
}
