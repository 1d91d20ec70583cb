package wire

// Telnet commands (RFC 854).
const (
	telnetSE   = 240
	telnetAYT  = 246 // "are you there"
	telnetEC   = 247 // erase the last character
	telnetEL   = 248 // erase the line
	telnetSB   = 250
	telnetWill = 251
	telnetWont = 252
	telnetDo   = 253
	telnetDont = 254
	telnetIAC  = 255
)

// telnetState is where a Framer is in a telnet sequence. Handovers have its values.
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

// telnetRequests are requests of a telnet client that are to be answered.
type telnetRequests struct {
	refusals    []byte
	areYouThere bool
}

// maxRefusals bounds the bytes of refusals that wait to be written: a flood of requests is not
// answered one by one.
const maxRefusals = 3 * 64

// TelnetRequests returns what a telnet client has asked for since the last call: refusals
// answers its DO and WILL, and is written as it is; areYouThere says that it has sent AYT.
func (f *Framer) TelnetRequests() (refusals []byte, areYouThere bool) {
	if f.telnet == nil {
		return nil, false
	}
	refusals, areYouThere = f.telnet.refusals, f.telnet.areYouThere
	f.telnet = nil
	return refusals, areYouThere
}

// requests returns the requests, to note another one.
func (f *Framer) requests() *telnetRequests {
	if f.telnet == nil {
		f.telnet = new(telnetRequests)
	}
	return f.telnet
}

// refuse notes that an option is to be refused. No other answer is needed (RFC 1143): all
// options are off, and stay off after WONT and DONT.
func (f *Framer) refuse(command, option byte) {
	if a := f.requests(); len(a.refusals) < maxRefusals {
		a.refusals = append(a.refusals, telnetIAC, command, option)
	}
}

// handleTelnet takes the next byte of a telnet sequence and returns how many bytes that were:
// none if the byte belongs to the text.
func (f *Framer) handleTelnet(b byte) int {
	switch f.Telnet {
	case inIAC:
		f.IsTelnet = f.IsTelnet || b >= telnetSE && b != telnetIAC
		switch {
		case b == telnetIAC: // an escaped 255
			f.Telnet = inText
			f.add([]byte{telnetIAC})
		case b == telnetWill:
			f.Telnet = inWill
		case b == telnetDo:
			f.Telnet = inDo
		case b >= telnetWill:
			f.Telnet = inOpt
		case b == telnetSB:
			f.Telnet, f.SubSize = inSub, 0
		case b >= telnetSE:
			f.Telnet = inText
			f.handleCommand(b)
		default: // it is no telnet sequence
			f.Telnet = inText
			f.add([]byte{telnetIAC})
			return 0
		}
	case inWill:
		f.Telnet = inText
		f.refuse(telnetDont, b)
	case inDo:
		f.Telnet = inText
		f.refuse(telnetWont, b)
	case inOpt:
		f.Telnet = inText
	default:
		f.SubSize++
		switch {
		case f.SubSize >= maxSubnegotiation, f.Telnet == inSubIAC && b == telnetSE:
			f.Telnet = inText
		case f.Telnet == inSub && b == telnetIAC:
			f.Telnet = inSubIAC
		default: // also an escaped 255
			f.Telnet = inSub
		}
	}
	return 1
}

// handleCommand handles a command of two bytes.
func (f *Framer) handleCommand(b byte) {
	switch b {
	case telnetAYT:
		f.requests().areYouThere = true
	case telnetEC:
		f.add([]byte{'\b'})
	case telnetEL:
		f.Partial, f.Size, f.LastCR = nil, 0, false
	}
}
