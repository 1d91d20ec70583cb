package upgrade

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Pair is one end of the socket pair between a server and the process that is to take
// over from it. A frame is a header, which carries the descriptors, and then its
// kind, a line end and JSON. One goroutine at a time may send, and one receive.
type Pair struct {
	conn *net.UnixConn
}

const (
	// maxFrame bounds a frame in bytes, and maxDescriptors what Linux takes
	// with one message (253).
	maxFrame       = 64 << 20
	maxDescriptors = 250

	headerBytes = 8
)

// newPair makes a pair: our end, and the file that the other process gets.
func newPair() (*Pair, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "pair")
	ours, err := pairOn(uintptr(fds[0]))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// pairOn takes a descriptor that is one end of a pair.
func pairOn(fd uintptr) (*Pair, error) {
	f := os.NewFile(fd, "pair")
	if f == nil {
		return nil, fmt.Errorf("descriptor %d is not there", fd)
	}
	defer f.Close() // FileConn has one of its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("descriptor %d is not a unix socket", fd)
	}
	return &Pair{conn}, nil
}

// SetTimeout bounds everything from now on.
func (p *Pair) SetTimeout(d time.Duration) { p.conn.SetDeadline(time.Now().Add(d)) }

// Close closes this end.
func (p *Pair) Close() { p.conn.Close() }

// Send sends a frame: its kind, which is a word, v as JSON, and descriptors, which stay
// open here too, 250 at most.
func (p *Pair) Send(kind string, v any, fds ...int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	header := make([]byte, headerBytes, headerBytes+len(kind)+1+len(body))
	binary.BigEndian.PutUint32(header, uint32(len(kind)+1+len(body)))
	binary.BigEndian.PutUint32(header[4:], uint32(len(fds)))
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	// The header is a message of its own: rights come with its first byte, and
	// a reader gets them by reading no more than it.
	n, _, err := p.conn.WriteMsgUnix(header, rights, nil)
	if err == nil && n < headerBytes {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	frame := append(append(append(header[headerBytes:headerBytes], kind...), '\n'), body...)
	_, err = p.conn.Write(frame)
	return err
}

// Receive waits for a frame. The caller owns its descriptors, which are closed on exec. At the end of
// the other process the error is io.EOF.
func (p *Pair) Receive() (kind string, body []byte, fds []int, err error) {
	header := make([]byte, headerBytes)
	oob := make([]byte, syscall.CmsgSpace(4*maxDescriptors))
	n, oobn, _, _, err := p.conn.ReadMsgUnix(header, oob)
	if err != nil {
		return "", nil, nil, err
	}
	if n == 0 {
		return "", nil, nil, io.EOF
	}
	if fds, err = parseDescriptors(oob[:oobn]); err != nil {
		return "", nil, nil, err
	}
	defer func() {
		if err != nil {
			for _, fd := range fds {
				syscall.Close(fd)
			}
			fds = nil
		}
	}()
	if _, err := io.ReadFull(p.conn, header[n:]); err != nil {
		return "", nil, fds, err
	}
	size, count := binary.BigEndian.Uint32(header), binary.BigEndian.Uint32(header[4:])
	if size > maxFrame || int(count) != len(fds) {
		return "", nil, fds, fmt.Errorf("a frame of %d bytes came with %d descriptors, and said %d", size, len(fds), count)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(p.conn, frame); err != nil {
		return "", nil, fds, err
	}
	for i, b := range frame {
		if b == '\n' {
			return string(frame[:i]), frame[i+1:], fds, nil
		}
	}
	return "", nil, fds, errors.New("a frame has no kind")
}

// parseDescriptors takes the descriptors out of a control message.
func parseDescriptors(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	for i := range messages {
		got, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, os.NewSyscallError("recvmsg", err)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// Expect receives a frame of that kind into v. What the other process says went
// wrong there is the error.
func (p *Pair) Expect(want string, v any) error {
	kind, body, fds, err := p.Receive()
	for _, fd := range fds {
		syscall.Close(fd) // none is due
	}
	switch {
	case err != nil:
		return err
	case kind == "failed":
		var why string
		if err := json.Unmarshal(body, &why); err != nil {
			return err
		}
		return remoteError{why}
	case kind != want:
		return fmt.Errorf("it says %q instead of %q", kind, want)
	}
	return json.Unmarshal(body, v)
}

// remoteError is what the other process says it cannot do.
type remoteError struct{ why string }

func (e remoteError) Error() string { return e.why }

// withDescriptor lends the descriptor of a connection or a listener. Taking it by File
// would make it blocking, for the other process too.
func withDescriptor(l syscall.Conn, fn func(fd int) error) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) { err = fn(int(fd)) }), err)
}

// connFrom makes a connection of a frame's one descriptor.
func connFrom(fds []int) (*net.UnixConn, error) {
	if len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors came for one connection", len(fds))
	}
	p, err := pairOn(uintptr(fds[0]))
	if err != nil {
		return nil, err
	}
	return p.conn, nil
}

// Listener makes a listener of what SendListener sent: where it listens, as the other
// process calls it, and the frame's one descriptor. L is what it must be.
func Listener[L net.Listener](body []byte, fds []int) (name string, l L, err error) {
	if len(fds) != 1 {
		return "", l, fmt.Errorf("%d descriptors came for one listener", len(fds))
	}
	if err := json.Unmarshal(body, &name); err != nil {
		return "", l, err
	}
	f := os.NewFile(uintptr(fds[0]), name)
	defer f.Close() // FileListener has one of its own
	ln, err := net.FileListener(f)
	if err != nil {
		return "", l, err
	}
	l, ok := ln.(L)
	if !ok {
		ln.Close()
		return "", l, fmt.Errorf("what came as %s is no such socket", name)
	}
	return name, l, nil
}
