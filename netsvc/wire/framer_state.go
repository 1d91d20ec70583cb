package wire

// FramerState is where a Framer is in its stream, for a process that goes on
// with it. The zero value is between two lines.
type FramerState struct {
	Telnet uint8  `json:"telnet,omitempty"` // where in a telnet sequence
	Sub    int    `json:"sub,omitempty"`    // bytes of a subnegotiation so far
	Size   int    `json:"size,omitempty"`   // bytes of the unfinished line so far
	LastCR bool   `json:"cr,omitempty"`     // the last of them is a CR
	Part   []byte `json:"part,omitempty"`   // the first of them
	Head   uint8  `json:"head,omitempty"`   // bytes that are known not to be TLS, or may be
}

// State is where the framer is.
func (f *Framer) State() FramerState {
	return FramerState{uint8(f.state), f.sub, f.size, f.lastCR, f.part, f.head}
}

// Resume makes a framer for lines of up to limit bytes that goes on where another
// one was. What the other one has kept beyond the limit is forgotten, as it would
// not have been kept.
func Resume(limit int, s FramerState) Framer {
	f := NewFramer(limit)
	if s.Telnet <= uint8(inSubIAC) {
		f.state = telnetState(s.Telnet)
	}
	f.head = min(s.Head, tlsHead)
	f.sub, f.size, f.lastCR = max(s.Sub, 0), max(s.Size, len(s.Part)), s.LastCR
	f.part = s.Part[:min(len(s.Part), limit)]
	if len(f.part) == 0 {
		f.part = nil
	}
	return f
}
