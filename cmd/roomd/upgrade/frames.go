package upgrade

import (
	"bytes"
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

// Pair is one end of the socket pair between a server and its successor. A frame is a
// header, which carries the descriptors, and then the kind, a line end and JSON. One
// goroutine at a time may send, and one may receive.
type Pair struct {
	conn *net.UnixConn
}

const (
	maxFrame       = 64 << 20 // bytes
	maxDescriptors = 250      // Linux takes 253 with one message

	headerBytes = 8
)

// newPair makes a pair: the end of this process, and the file for the other process.
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

// pairOn makes a Pair of a descriptor, which it takes over.
func pairOn(fd uintptr) (*Pair, error) {
	f := os.NewFile(fd, "pair")
	if f == nil {
		return nil, fmt.Errorf("descriptor %d is not open", fd)
	}
	defer f.Close() // FileConn duplicates the descriptor
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

// SetTimeout bounds all following calls together.
func (p *Pair) SetTimeout(d time.Duration) { p.conn.SetDeadline(time.Now().Add(d)) }

// Close closes this end of the pair.
func (p *Pair) Close() { p.conn.Close() }

// Send sends a frame: its kind, which is one word, v as JSON, and at most 250 descriptors,
// which stay open in this process.
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
	// The header is a message of its own: the descriptors arrive with its first byte, and a
	// reader gets them without reading more than the header.
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

// Receive waits for a frame. The caller owns its descriptors, which are closed on exec. When
// the other process has exited, the error is io.EOF.
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
		return "", nil, fds, fmt.Errorf("frame of %d bytes has %d descriptors, and its header says %d", size, len(fds), count)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(p.conn, frame); err != nil {
		return "", nil, fds, err
	}
	head, body, found := bytes.Cut(frame, []byte("\n"))
	if !found {
		return "", nil, fds, errors.New("frame has no kind")
	}
	return string(head), body, fds, nil
}

// parseDescriptors returns the descriptors of a control message.
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

// Expect receives a frame of that kind into v. A frame of the kind "failed" is a
// remoteError.
func (p *Pair) Expect(want string, v any) error {
	kind, body, fds, err := p.Receive()
	for _, fd := range fds {
		syscall.Close(fd) // no descriptor belongs to this frame
	}
	switch {
	case err != nil:
		return err
	case kind == "failed":
		var cause string
		if err := json.Unmarshal(body, &cause); err != nil {
			return err
		}
		return remoteError(cause)
	case kind != want:
		return fmt.Errorf("frame %q arrived instead of %q", kind, want)
	}
	return json.Unmarshal(body, v)
}

// remoteError is the error that the other process reports.
type remoteError string

func (e remoteError) Error() string { return string(e) }

// withDescriptor calls fn with the descriptor of a connection or a listener. The method File
// would make the socket blocking, in the other process too.
func withDescriptor(l syscall.Conn, fn func(fd int) error) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) { err = fn(int(fd)) }), err)
}

// connFrom makes a connection of the one descriptor of a frame.
func connFrom(fds []int) (*net.UnixConn, error) {
	if len(fds) != 1 {
		return nil, fmt.Errorf("frame has %d descriptors instead of one", len(fds))
	}
	p, err := pairOn(uintptr(fds[0]))
	if err != nil {
		return nil, err
	}
	return p.conn, nil
}

// Listener makes a listener of type L of a frame that SendListener has sent. name is the
// address in the other process's configuration.
func Listener[L net.Listener](body []byte, fds []int) (name string, l L, err error) {
	if len(fds) != 1 {
		return "", l, fmt.Errorf("frame has %d descriptors instead of one", len(fds))
	}
	if err := json.Unmarshal(body, &name); err != nil {
		return "", l, err
	}
	f := os.NewFile(uintptr(fds[0]), name)
	defer f.Close() // FileListener duplicates the descriptor
	ln, err := net.FileListener(f)
	if err != nil {
		return "", l, err
	}
	l, ok := ln.(L)
	if !ok {
		ln.Close()
		return "", l, fmt.Errorf("the listener %s is a %T instead of a %T", name, ln, l)
	}
	return name, l, nil
}
