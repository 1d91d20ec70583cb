package main

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

// handoff is the socket pair between a server and the process that is to take
// over from it. A frame is a header, which carries the descriptors, and then its
// kind, a line end and JSON. One goroutine at a time may send, and one receive.
type handoff struct {
	conn *net.UnixConn
}

const (
	// mostFrame bounds a frame in bytes, and mostDescriptors what Linux takes
	// with one message (253).
	mostFrame       = 64 << 20
	mostDescriptors = 250

	headerBytes = 8
)

// newHandoff makes a pair: our end, and the file that the other process gets.
func newHandoff() (*handoff, *os.File, error) {
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
	theirs := os.NewFile(uintptr(fds[1]), "handoff")
	h, err := handoffOn(uintptr(fds[0]))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return h, theirs, nil
}

// handoffOn takes a descriptor that is one end of a pair.
func handoffOn(fd uintptr) (*handoff, error) {
	f := os.NewFile(fd, "handoff")
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
	return &handoff{conn}, nil
}

// within bounds everything from now on.
func (h *handoff) within(d time.Duration) { h.conn.SetDeadline(time.Now().Add(d)) }

func (h *handoff) close() { h.conn.Close() }

// send sends a frame. The descriptors stay open here too.
func (h *handoff) send(kind string, v any, fds ...int) error {
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
	n, _, err := h.conn.WriteMsgUnix(header, rights, nil)
	if err == nil && n < headerBytes {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	frame := append(append(append(header[headerBytes:headerBytes], kind...), '\n'), body...)
	_, err = h.conn.Write(frame)
	return err
}

// receive waits for a frame. The descriptors are closed on exec. At the end of
// the other process the error is io.EOF.
func (h *handoff) receive() (kind string, body []byte, fds []int, err error) {
	header := make([]byte, headerBytes)
	oob := make([]byte, syscall.CmsgSpace(4*mostDescriptors))
	n, oobn, _, _, err := h.conn.ReadMsgUnix(header, oob)
	if err != nil {
		return "", nil, nil, err
	}
	if n == 0 {
		return "", nil, nil, io.EOF
	}
	if fds, err = descriptorsIn(oob[:oobn]); err != nil {
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
	if _, err := io.ReadFull(h.conn, header[n:]); err != nil {
		return "", nil, fds, err
	}
	size, count := binary.BigEndian.Uint32(header), binary.BigEndian.Uint32(header[4:])
	if size > mostFrame || int(count) != len(fds) {
		return "", nil, fds, fmt.Errorf("a frame of %d bytes came with %d descriptors, and said %d", size, len(fds), count)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(h.conn, frame); err != nil {
		return "", nil, fds, err
	}
	for i, b := range frame {
		if b == '\n' {
			return string(frame[:i]), frame[i+1:], fds, nil
		}
	}
	return "", nil, fds, errors.New("a frame has no kind")
}

// descriptorsIn takes the descriptors out of a control message.
func descriptorsIn(oob []byte) (fds []int, err error) {
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

// expect receives a frame of that kind into v. What the other process says went
// wrong there is the error.
func (h *handoff) expect(want string, v any) error {
	kind, body, fds, err := h.receive()
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
		return refusedThere{why}
	case kind != want:
		return fmt.Errorf("it says %q instead of %q", kind, want)
	}
	return json.Unmarshal(body, v)
}

// refusedThere is what the other process says it cannot do.
type refusedThere struct{ why string }

func (e refusedThere) Error() string { return e.why }
