package wire

// Telnet commands (RFC 854).
const (
	telnetSE   = 240
	telnetAYT  = 246 // are you there
	telnetEC   = 247 // erase the last character
	telnetEL   = 248 // erase the line
	telnetSB   = 250
	telnetWill = 251
	telnetWont = 252
	telnetDo   = 253
	telnetDont = 254
	telnetIAC  = 255
)

// telnetState is where the framer is inside a telnet sequence.
type telnetState uint8

const (
	inText   telnetState = iota
	inIAC                // after IAC
	inOpt                // after WONT or DONT: an option follows
	inSub                // inside a subnegotiation
	inSubIAC             // inside a subnegotiation, after IAC
	inWill               // after WILL: an option follows
	inDo                 // after DO: an option follows
)

// telnetRequests is what a telnet client is to be told.
type telnetRequests struct {
	refusals    []byte
	areYouThere bool
}

// maxRefusals bounds the refusals that wait to be written, in bytes: a flood of
// requests is not answered one by one.
const maxRefusals = 3 * 64

// TelnetRequests returns what a telnet client has asked for since the last call: refusals
// is what answers its DO and WILL, to be written as it is, and there says that it
// wants to know whether anybody is there (AYT).
func (f *Framer) TelnetRequests() (refusals []byte, there bool) {
	if f.telnet == nil {
		return nil, false
	}
	refusals, there = f.telnet.refusals, f.telnet.areYouThere
	f.telnet = nil
	return refusals, there
}

// requests returns where to note what is asked for.
func (f *Framer) requests() *telnetRequests {
	if f.telnet == nil {
		f.telnet = new(telnetRequests)
	}
	return f.telnet
}

// refuse notes that the client is to be told that an option is not to be had.
// That is all there is to be negotiated (RFC 1143): whatever is off stays off, and
// WONT and DONT need no answer.
func (f *Framer) refuse(command, option byte) {
	if a := f.requests(); len(a.refusals) < maxRefusals {
		a.refusals = append(a.refusals, telnetIAC, command, option)
	}
}

// handleTelnet takes one byte inside a sequence and returns how many bytes that used
// up: none if it belongs to the text after all.
func (f *Framer) handleTelnet(b byte) int {
	switch f.state {
	case inIAC:
		f.isTelnet = f.isTelnet || b >= telnetSE && b != telnetIAC
		switch {
		case b == telnetIAC: // an escaped 255
			f.state = inText
			f.add([]byte{telnetIAC})
		case b == telnetWill:
			f.state = inWill
		case b == telnetDo:
			f.state = inDo
		case b >= telnetWill:
			f.state = inOpt
		case b == telnetSB:
			f.state, f.subSize = inSub, 0
		case b >= telnetSE:
			f.state = inText
			f.handleCommand(b)
		default: // not telnet at all
			f.state = inText
			f.add([]byte{telnetIAC})
			return 0
		}
	case inWill:
		f.state = inText
		f.refuse(telnetDont, b)
	case inDo:
		f.state = inText
		f.refuse(telnetWont, b)
	case inOpt:
		f.state = inText
	default:
		f.subSize++
		switch {
		case f.subSize == maxSubnegotiation, f.state == inSubIAC && b == telnetSE:
			f.state = inText
		case f.state == inSub && b == telnetIAC:
			f.state = inSubIAC
		default: // an escaped 255 among others
			f.state = inSub
		}
	}
	return 1
}

// handleCommand takes a command of two bytes.
func (f *Framer) handleCommand(b byte) {
	switch b {
	case telnetAYT:
		f.requests().areYouThere = true
	case telnetEC:
		f.add([]byte{'\b'})
	case telnetEL:
		f.partial, f.size, f.lastCR = nil, 0, false
	}
}
