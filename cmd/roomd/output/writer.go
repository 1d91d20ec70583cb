package output

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// maxQueueBytes bounds the lines that a Writer keeps for a slow reader.
	maxQueueBytes = 1 << 20
	// writeTimeout is how long a caller waits for its line to be written, so that the line is
	// not lost if the process exits in the next moment. After a timeout no caller waits during
	// noWaitPeriod.
	writeTimeout = 20 * time.Millisecond
	noWaitPeriod = 10 * time.Second
	// pipeBuf is what a pipe takes in one piece (PIPE_BUF, pipe(7)): other
	// processes may write to the same one.
	pipeBuf = 4096
	// FlushTimeout bounds how long the exit of the process waits for a reader.
	FlushTimeout = time.Second
)

// Writer writes whole lines to a file whose reader may hang or have exited. No caller waits
// longer than writeTimeout. Lines that cannot be written are dropped and counted, and a line
// reports their number once writing works again. Its methods may be called from any goroutine.
type Writer struct {
	w io.Writer
	// droppedLine makes the line that reports the number of dropped lines; nil: no report.
	droppedLine func(n uint64) []byte

	partial bool // the last write ended within a line; owned by the goroutine that writes

	mu          sync.Mutex
	queue       []byte
	lines       uint64        // number of lines in queue
	full        bool          // no line is taken until the queue is being written
	idle        chan struct{} // closed when the queue is written; nil: no write runs
	writeStart  time.Time     // of the running write
	lastTimeout time.Time     // when a caller last waited for writeTimeout
	dropped     uint64        // number of lines, since the start
	reported    uint64        // of them, in a report
}

// New makes a Writer to w. It does not close w.
func New(w io.Writer) *Writer { return &Writer{w: w} }

// Write queues lines. It never fails.
func (l *Writer) Write(p []byte) (int, error) {
	l.mu.Lock()
	n := uint64(bytes.Count(p, []byte("\n")))
	if l.full || len(l.queue)+len(p) > maxQueueBytes {
		l.full = true
		l.dropped += n
		l.mu.Unlock()
		return len(p), nil
	}
	l.queue = append(l.queue, p...)
	l.lines += n
	if l.idle == nil {
		l.idle, l.writeStart = make(chan struct{}), time.Now()
		go l.drain()
	}
	idle, rests := l.idle, time.Since(l.lastTimeout) < noWaitPeriod
	l.mu.Unlock()
	if !rests && !waitFor(idle, writeTimeout) {
		l.mu.Lock()
		l.lastTimeout = time.Now()
		l.mu.Unlock()
	}
	return len(p), nil
}

func waitFor(done <-chan struct{}, most time.Duration) bool {
	select {
	case <-done:
		return true
	case <-time.After(most):
		return false
	}
}

// drain writes the queue until it is empty.
func (l *Writer) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		text, lines := l.queue, l.lines
		l.queue, l.lines, l.full = nil, 0, false
		gap := l.dropped - l.reported
		l.mu.Unlock()
		if gap > 0 && l.droppedLine != nil {
			text = append(text, l.droppedLine(gap)...)
		}
		written, err := l.write(text)
		l.mu.Lock()
		if err == nil {
			l.reported += gap
			continue
		}
		l.dropped += lines - min(written, lines)
	}
	close(l.idle)
	l.idle = nil
}

// write writes lines, several at once, and returns the number of written lines.
func (l *Writer) write(text []byte) (lines uint64, err error) {
	if l.partial { // the next line must not continue the partial one
		if _, err := io.WriteString(l.w, "\n"); err != nil {
			return 0, err
		}
		l.partial = false
	}
	for len(text) > 0 {
		n := len(text)
		if n > pipeBuf {
			if n = bytes.LastIndexByte(text[:pipeBuf], '\n') + 1; n == 0 {
				if n = bytes.IndexByte(text, '\n') + 1; n == 0 {
					n = len(text)
				}
			}
		}
		l.mu.Lock()
		l.writeStart = time.Now()
		l.mu.Unlock()
		done, err := l.w.Write(text[:n])
		lines += uint64(bytes.Count(text[:done], []byte("\n")))
		if err != nil {
			l.partial = done > 0 && text[done-1] != '\n'
			return lines, err
		}
		text = text[n:]
	}
	return lines, nil
}

// Flush waits until the queue is written, for most at most.
func (l *Writer) Flush(most time.Duration) {
	l.mu.Lock()
	idle := l.idle
	l.mu.Unlock()
	if idle != nil {
		waitFor(idle, most)
	}
}

// State returns how many lines were dropped, and how long the running write has waited for the
// reader; 0: no write waits.
func (l *Writer) State() (dropped uint64, waits time.Duration) {
	if c, ok := l.w.(interface{ Dropped() uint64 }); ok { // a console has a queue of its own
		dropped = c.Dropped()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle != nil {
		waits = time.Since(l.writeStart)
	}
	return dropped + l.dropped, waits
}

// Stat returns the FileInfo of the file, if w is a file.
func (l *Writer) Stat() (fs.FileInfo, error) {
	if f, ok := l.w.(*os.File); ok {
		return f.Stat()
	}
	return nil, errors.ErrUnsupported
}
