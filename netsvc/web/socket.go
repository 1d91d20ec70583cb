package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

const (
	// Protocol is the name of the subprotocol (RFC 6455, section 1.9).
	Protocol = "roomd.v1"

	maxMessage = 64 << 10 // bytes of a client's message

	// pingEvery is how often a page that says nothing is asked whether it is there, and maxSilence how
	// many times in a row it may leave that unanswered, and take nothing of what is sent to it.
	pingEvery  = 25 * time.Second
	maxSilence = 2

	// pongEvery is the least time between two pings of a client that are answered: one that pings without
	// end is read at that rate (RFC 6455, section 5.5.2, asks for an answer to each).
	pongEvery = 50 * time.Millisecond

	// closeTime bounds the closing handshake.
	closeTime = time.Second
)

// Lines that the session reads beside those of the client. No line of a client begins with bell.
const (
	bell     = '\a'
	markRoom = "\a>" // before the lines of a message: the name of its room follows
	markEnd  = "\a." // behind them
)

// socket is a WebSocket whose messages a session reads as lines, and writes. The session's goroutine reads
// it and another one writes; the rest may be called from any.
type socket struct {
	net.Conn // beneath ws
	ws       *websocket.Conn
	every    time.Duration // between two pings

	// Owned by the reader.
	message  io.Reader // nil: the next one is awaited
	begun    bool      // markRoom of the message was read
	named    bool      // its first line is over
	lineEnd  bool      // a line begins next
	unpaired []byte    // the bytes of an incomplete character at the end of what was read
	pinged   time.Time // when the client's last ping was answered

	heard   atomic.Bool   // something of the client has come since the last ping
	wrote   atomic.Uint32 // messages
	writing atomic.Bool
	silence int // pings without an answer; owned by the timer

	mu     sync.Mutex // guards what follows
	timer  *time.Timer
	closed bool
	code   websocket.StatusCode // for the client
	reason string
}

// accept answers the handshake of a WebSocket. After an error the answer is written.
func accept(w http.ResponseWriter, r *http.Request, under net.Conn) (*socket, error) {
	s := &socket{Conn: under, every: pingEvery, code: websocket.StatusGoingAway}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Protocol},
		CompressionMode:    websocket.CompressionDisabled, // takes 32 KiB and more for each page
		InsecureSkipVerify: true,                          // the guard has looked at Origin, and knows of proxies
		OnPongReceived:     func(context.Context, []byte) { s.heard.Store(true) },
		OnPingReceived:     s.pingCame,
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(maxMessage)
	if s.ws = ws; ws.Subprotocol() != Protocol {
		s.CloseWith(websocket.StatusPolicyViolation, "the subprotocol is "+Protocol)
		return nil, errors.New("the client does not speak " + Protocol)
	}
	return s, nil
}

// pingCame is called by the reader before a ping is answered.
func (s *socket) pingCame(context.Context, []byte) bool {
	s.heard.Store(true)
	time.Sleep(pongEvery - time.Since(s.pinged))
	s.pinged = time.Now()
	return true
}

// Await waits for a message, without a buffer.
func (s *socket) Await() error {
	if s.message != nil {
		return nil
	}
	kind, r, err := s.ws.Reader(context.Background())
	if err != nil {
		return readError(err)
	}
	s.heard.Store(true)
	if kind != websocket.MessageText {
		s.CloseWith(websocket.StatusUnsupportedData, "messages are text")
		return io.EOF
	}
	s.message, s.begun, s.named, s.lineEnd = r, false, false, true
	return nil
}

// Read reads a piece of a message, with its marks. p has 256 bytes at least.
func (s *socket) Read(p []byte) (n int, err error) {
	if err := s.Await(); err != nil {
		return 0, err
	}
	if !s.begun {
		s.begun = true
		n = copy(p, markRoom)
	}
	got, err := s.message.Read(p[n : len(p)-len(markEnd)-2])
	s.heard.Store(true)
	b := p[n : n+got]
	n += got
	if !s.isText(b) || errors.Is(err, io.EOF) && len(s.unpaired) > 0 {
		s.CloseWith(websocket.StatusInvalidFramePayloadData, "text is UTF-8")
		return 0, io.EOF
	}
	s.escape(b)
	switch {
	case errors.Is(err, io.EOF):
		if !s.lineEnd || !s.named {
			n += copy(p[n:], "\n")
		}
		n += copy(p[n:], markEnd+"\n")
		s.message = nil
		return n, nil
	case err != nil:
		return 0, readError(err)
	}
	return n, nil
}

// escape takes away the bell at the beginning of a line, and each NUL: in a text they are U+FFFD like any
// other control character. By a NUL a wire.Framer would know a telnet client, whose lines end with CR, too.
func (s *socket) escape(b []byte) {
	for i, c := range b {
		if c == 0 || s.lineEnd && s.named && c == bell {
			b[i] = '\b'
		}
		if s.lineEnd = c == '\n'; s.lineEnd {
			s.named = true
		}
	}
}

// isText reports whether the next bytes of a message are UTF-8 so far.
func (s *socket) isText(b []byte) bool {
	for len(s.unpaired) > 0 && len(b) > 0 {
		s.unpaired = append(s.unpaired, b[0])
		b = b[1:]
		if utf8.FullRune(s.unpaired) {
			if r, n := utf8.DecodeRune(s.unpaired); r == utf8.RuneError && n == 1 {
				return false
			}
			s.unpaired = nil
		}
	}
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				s.unpaired = append([]byte(nil), b[i:]...)
				b = b[:i]
			}
			break
		}
	}
	return utf8.Valid(b)
}

// readError is an error of the WebSocket as that of a connection: that it is closed, by either side, is its
// end, and so is a message that breaks RFC 6455, which is answered with a code already.
func readError(err error) error {
	for _, of := range []error{syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EPIPE, os.ErrDeadlineExceeded} {
		if errors.Is(err, of) {
			return of
		}
	}
	return io.EOF
}

// messages are buffers for a message.
var messages = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// WriteFrame writes one message, or several where bytes of no room have lines of markRoom between them.
func (s *socket) WriteFrame(room string, p []byte) error {
	for room == "" {
		i := bytes.IndexByte(p, bell)
		if i < 0 {
			break
		}
		if i > 0 {
			if err := s.write("", p[:i]); err != nil {
				return err
			}
		}
		of, rest, _ := bytes.Cut(p[i+len(markRoom):], []byte{'\n'})
		if p = rest; len(of) == 0 {
			continue
		}
		end := bytes.IndexByte(p, bell)
		if err := s.write(string(of), p[:end]); err != nil {
			return err
		}
		p = p[end:]
	}
	if len(p) == 0 {
		return nil
	}
	return s.write(room, p)
}

// write writes one message.
func (s *socket) write(room string, p []byte) error {
	b := messages.Get().(*[]byte)
	defer messages.Put(b)
	*b = append(append(append((*b)[:0], room...), '\n'), p...)
	s.writing.Store(true)
	err := s.ws.Write(context.Background(), websocket.MessageText, *b)
	s.writing.Store(false)
	s.wrote.Add(1)
	return err
}

// Write writes a message of no room.
func (s *socket) Write(p []byte) (int, error) {
	if err := s.WriteFrame("", p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// watch pings the client from now on, and calls dead once if it does not answer.
func (s *socket) watch(dead func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.timer = time.AfterFunc(s.every, func() { s.ping(dead, s.wrote.Load()) })
	}
}

// ping looks whether the client has been there since the last ping: it has said or answered something, or
// taken a message. before is how many it had taken then.
func (s *socket) ping(dead func(), before uint32) {
	wrote := s.wrote.Load()
	if s.silence++; s.heard.Swap(false) || wrote != before {
		s.silence = 0
	}
	if s.silence > maxSilence {
		dead()
		return
	}
	if !s.writing.Load() { // else it would wait behind what the client does not read
		ctx, cancel := context.WithTimeout(context.Background(), s.every/2)
		_ = s.ws.Ping(ctx) // OnPongReceived has the answer
		cancel()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.timer = time.AfterFunc(s.every, func() { s.ping(dead, wrote) })
	}
}

// closeWith sets what the client is told at the end.
func (s *socket) closeWith(code websocket.StatusCode, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.reason = code, reason
}

// CloseWith closes the connection with a code and a reason of 123 bytes at most.
func (s *socket) CloseWith(code websocket.StatusCode, reason string) {
	s.closeWith(code, reason)
	_ = s.CloseWrite()
	s.Close()
}

// errHandshakeDone says that nothing more comes from the client.
var errHandshakeDone = errors.New("the closing handshake is over")

// CloseWrite carries out the closing handshake, for closeTime at most, and returns an error always: there
// is nothing to wait for.
func (s *socket) CloseWrite() error {
	s.mu.Lock()
	code, reason := s.code, s.reason
	s.mu.Unlock()
	s.Conn.SetDeadline(time.Now().Add(closeTime))
	_ = s.ws.Close(code, reason)
	return errHandshakeDone
}

// Close closes the connection.
func (s *socket) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	_ = s.ws.CloseNow()
	return s.Conn.Close()
}
