package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"roomd/admin/peer"
	"roomd/netsvc"
	"roomd/store"
)

// Listener is the unix socket that serves the commands.
type Listener struct {
	srv   *Server
	ln    *net.UnixListener
	done  context.Context
	end   context.CancelFunc
	conns sync.WaitGroup

	pause   atomic.Value // a chan struct{}, closed by Resume
	pending atomic.Int64 // commands without an answer yet, except streams
}

// maxLine bounds a command line in bytes.
const maxLine = 64 << 10

// maxPath bounds the path of a socket in bytes (unix(7)).
const maxPath = 107

// UnavailableError is an error of Listen with a cause in the machine: a folder is missing or
// read-only, or the path is too long.
type UnavailableError struct {
	Err       error
	Permanent bool // a later try fails, too
}

func (e UnavailableError) Error() string { return e.Err.Error() }
func (e UnavailableError) Unwrap() error { return e.Err }

// Listen creates the socket at path with these permissions and begins to serve. It removes a
// stale socket, that is, one where no server answers.
func (s *Server) Listen(path string, mode os.FileMode) (*Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The permissions are set before a client can connect. The umask may have removed some of
	// them; Serve sets those again.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(mode.Perm())) }), err)
	}}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		if len(path) > maxPath {
			return nil, UnavailableError{fmt.Errorf("open the admin socket: its path has %d bytes, and the system takes %d: set a shorter admin.socket", len(path), maxPath), true}
		}
		return nil, UnavailableError{fmt.Errorf("open the admin socket: %w", err), false}
	}
	l, err := s.Serve(ln.(*net.UnixListener), mode)
	if err != nil {
		ln.Close()
	}
	return l, err
}

// Serve begins to serve on an open socket.
func (s *Server) Serve(ln *net.UnixListener, mode os.FileMode) (*Listener, error) {
	ln.SetUnlinkOnClose(true)
	s.group.Store(&s.Group)
	if err := s.setAccess(ln.Addr().String(), mode); err != nil {
		return nil, err
	}
	l := &Listener{srv: s, ln: ln}
	l.done, l.end = context.WithCancel(context.Background())
	l.conns.Go(l.accept)
	return l, nil
}

// removeStale removes the socket of a server that has ended.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return UnavailableError{fmt.Errorf("check the admin socket: %w", err), len(path) > maxPath}
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket; remove it, or set another admin.socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("another server answers at the admin socket %s", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("the admin socket %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return UnavailableError{fmt.Errorf("remove the admin socket of a server that is gone: %w", err), false}
	}
	return nil
}

// chgrp sets the group of a file; "" is the group of the process.
func chgrp(path, group string) error {
	gid := os.Getegid()
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return err
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return err
		}
	}
	err := os.Chown(path, -1, gid)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the user that the server runs as is not in the group %s, or was not when it started: %w", group, err)
	}
	return err
}

// Close ends all connections and removes the socket. Plans stay in the database for the next
// start; nothing can be planned any more.
func (l *Listener) Close() error {
	l.end()
	err := l.ln.Close()
	l.conns.Wait()
	l.srv.SuspendPlans()
	l.srv.plans.tasks.Wait() // those that are being carried out
	return err
}

// Pause leaves new connections in the queue of the socket, for the process that serves it
// next: this one after Resume, or another one after Retire.
func (l *Listener) Pause() {
	l.pause.Store(make(chan struct{}))
	l.ln.SetDeadline(time.Unix(1, 0))
}

// Resume ends Pause.
func (l *Listener) Resume() {
	l.ln.SetDeadline(time.Time{})
	close(l.pause.Load().(chan struct{}))
}

func (l *Listener) accept() {
	for {
		c, err := l.ln.AcceptUnix()
		switch {
		case err == nil:
			l.conns.Go(func() { l.serve(c) })
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			select {
			case <-l.pause.Load().(chan struct{}):
			case <-l.done.Done():
				return
			}
		default:
			// Probably there are no descriptors left; try again soon.
			select {
			case <-time.After(50 * time.Millisecond):
			case <-l.done.Done():
			}
		}
	}
}

// byteOrderMark may stand before the first line of a text. It is not part of the line.
const byteOrderMark = "\ufeff"

// serve answers the lines of one connection.
func (l *Listener) serve(c *net.UnixConn) {
	end := func() {
		if !l.srv.isStopWaiter(c) {
			c.Close()
		}
	}
	defer end()
	defer context.AfterFunc(l.done, end)()
	w := bufio.NewWriterSize(c, 64<<10) // so that a large answer wakes its reader only a few times
	who, err := l.srv.authenticate(c)
	if err != nil {
		fmt.Fprintf(w, "ERR denied %s\n", oneLine(err.Error()))
		w.Flush()
		return
	}
	lines := make(chan string)
	ctx, cancel := context.WithCancel(l.done)
	defer cancel()
	l.conns.Go(func() {
		defer close(lines)
		in := bufio.NewScanner(c)
		in.Buffer(nil, maxLine)
		mark := byteOrderMark // may be before the first line
		for in.Scan() {
			line := strings.TrimPrefix(in.Text(), mark)
			mark = ""
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
	})
	for line := range lines {
		for !isBlank(line) {
			next, open := l.serveLine(ctx, who, line, c, w, lines)
			if w.Flush() != nil || !open {
				return
			}
			line = next
		}
	}
}

func isBlank(line string) bool {
	words, err := split(line)
	return err == nil && len(words) == 0
}

// serveLine answers one line. The next line of the client ends a stream, and is returned. open
// is false if the client left during a stream.
func (l *Listener) serveLine(ctx context.Context, who Caller, line string, c *net.UnixConn, w *bufio.Writer, lines <-chan string) (next string, open bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &output{w: w, conn: c}
	open = true
	if cmd, _, _, err := parse(line); err == nil && cmd.stream {
		watching := make(chan error, 1)
		go func() { watching <- l.srv.execute(ctx, who, line, out) }()
		select {
		case err = <-watching:
			if ctx.Err() != nil { // the server stops, or another process serves: there is no verdict
				return "", false
			}
		case next, open = <-lines:
			cancel()
			err = <-watching
		}
		writeVerdict(w, err)
		return next, open
	}
	l.pending.Add(1)
	defer l.pending.Add(-1)
	defer peer.WhenGone(c, cancel)()
	err := l.srv.execute(ctx, who, line, out)
	if l.srv.isStopWaiter(c) { // Stopped writes the verdict
		return "", false
	}
	writeVerdict(w, err)
	err = w.Flush()
	return "", errors.Join(err, c.SetWriteDeadline(time.Time{})) == nil
}

// writeVerdict writes the last line of an answer.
func writeVerdict(w *bufio.Writer, err error) {
	if err == nil {
		w.WriteString("OK\n")
		return
	}
	v := verdictOf(err)
	fmt.Fprintf(w, "%s %s %s\n", v.word, v.code, oneLine(v.text))
}

// verdictOf returns the verdict for an error. Operators may see all of it.
func verdictOf(err error) *verdict {
	var v *verdict
	if errors.As(err, &v) {
		return v
	}
	if code, text, ok := netsvc.ClientError(err); ok {
		return &verdict{"ERR", code, text}
	}
	if errors.Is(err, store.ErrClosed) {
		return &verdict{"ERR", "busy", "this process is stopping, or another one has taken over; try again"}
	}
	return &verdict{"ERR", "internal", err.Error()}
}

// authenticate returns the user at the other end, or an error if that user may not give
// commands.
func (s *Server) authenticate(c *net.UnixConn) (Caller, error) {
	uid, gids, err := peer.Credentials(c)
	if err != nil {
		return Caller{}, fmt.Errorf("read the user at the other end of the socket: %w", err)
	}
	who := Caller{UID: uid, User: strconv.Itoa(uid)}
	u, err := user.LookupId(who.User)
	if err == nil {
		who.User = u.Username
	}
	if uid == 0 || uid == os.Getuid() {
		return who, nil
	}
	if group := *s.group.Load(); group != "" {
		g, gerr := user.LookupGroup(group)
		if gerr == nil && slices.ContainsFunc(gids, func(gid int) bool { return g.Gid == strconv.Itoa(gid) }) {
			return who, nil
		}
		if gerr == nil && err == nil {
			if ids, err := u.GroupIds(); err == nil && slices.Contains(ids, g.Gid) {
				return who, nil
			}
		}
	}
	return who, fmt.Errorf("%s is not root, not the user of the server and not in admin.group", who.User)
}
