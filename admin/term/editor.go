package term

import (
	"cmp"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/chzyer/readline"
	"golang.org/x/sys/unix"
)

// Editor reads lines from a person while other goroutines print whole lines above the line
// that is being typed. A process has at most one.
type Editor interface {
	// ReadLine returns the next line. The error is ErrInterrupt after Ctrl-C, with the typed
	// text; ErrLeave after Ctrl-D on an empty line; and io.EOF at the end of the input and
	// after Close, which drop an unfinished line. Only a paste can put line ends into a line.
	// One goroutine at a time may call it.
	ReadLine() (string, error)
	// Ask is ReadLine with a question instead of the prompt.
	Ask(question string) (string, error)
	// AskSecret is Ask for an answer that is neither shown nor completed.
	AskSecret(question string) (string, error)
	// SetPrompt sets the prompt, also while a line is typed.
	SetPrompt(prompt string)
	// AddHistory adds a line to the history and removes an equal one. It ignores a text with
	// several lines.
	AddHistory(line string)
	// History returns the history, the newest line last.
	History() []string
	// Print prints lines above the line that is typed, and adds the last line end. On a
	// terminal it breaks long lines between words and indents the further rows. It waits while
	// the terminal is slow, but not after Close.
	Print(text string)
	// Write writes bytes to the terminal unchanged; no line may be read meanwhile. It never
	// fails.
	io.Writer
	// Close gives the terminal back and ends a pending ReadLine. It may be called from any
	// goroutine and more than once, and does not wait for a terminal that nobody reads. Later
	// output is written, too; another Close waits for it.
	Close()
}

// ErrInterrupt is returned by Editor.ReadLine after Ctrl-C.
var ErrInterrupt = errors.New("interrupted by Ctrl-C")

// ErrLeave is returned by Editor.ReadLine after Ctrl-D on an empty line.
var ErrLeave = errors.New("left by Ctrl-D")

// IsTerminal reports whether a stream is an *os.File and a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && readline.IsTerminal(int(f.Fd()))
}

// IsYes reports whether an answer to [y/N] is yes.
func IsYes(answer string) bool {
	a := strings.ToLower(strings.TrimSpace(answer))
	return a == "y" || a == "yes"
}

// IsDumb reports whether the terminal cannot move its cursor.
func IsDumb() bool { return os.Getenv("TERM") == "dumb" }

// Editable reports whether an Editor can edit lines: in and out are the standard input and
// output, terminals, and able to move the cursor.
func Editable(in io.Reader, out io.Writer) bool {
	return in == os.Stdin && out == os.Stdout && IsTerminal(os.Stdin) && IsTerminal(os.Stdout) && !IsDumb()
}

// Options say where an Editor reads and writes.
type Options struct {
	// Lines are edited if In and Out are Editable. Otherwise In is read line by line, and no
	// prompt is shown.
	In  io.Reader
	Out io.Writer

	Prompt string
	// History is the file of past lines, which only its owner can read. Empty: the history is
	// only in memory.
	History string
	// Complete returns the words that can stand instead of the last word of before, which
	// begins after the last space. It may take a moment.
	Complete func(before string) []string
	// Erase removes a line from the screen once it was read.
	Erase bool
	// Indent is the indentation of the second and later rows of a long printed line.
	Indent int
}

// New takes over the terminal, if there is one. Close must follow.
func New(o Options) (Editor, error) {
	if !Editable(o.In, o.Out) {
		return newPlain(o), nil
	}
	e := &lineEditor{
		options: o, stdin: readline.NewCancelableStdin(o.In), display: newDisplay(o.Out, sizeOf(os.Stdout), o.Indent, true),
		done: make(chan struct{}), history: openHistory(o.History),
	}
	e.buffer.editor = e
	e.display.update(func(l *inputState) { l.prompt = o.Prompt })
	cfg := &readline.Config{
		Stdin: &keys{editor: e}, Stdout: bell{e.display}, Stderr: io.Discard, Listener: e,
		HistoryLimit: maxHistory + 1, DisableAutoSaveHistory: true, UniqueEditLine: true,
		// The library must not draw.
		FuncIsTerminal: func() bool { return false }, FuncGetWidth: func() int { return 80 }, FuncOnWidthChanged: func(func()) {},
		FuncMakeRaw: e.modes.raw, FuncExitRaw: e.modes.withSignals,
	}
	var err error
	if e.rl, err = readline.NewEx(cfg); err != nil {
		return nil, err
	}
	restoreOnSignal(e)
	// Two channels, so that neither signal displaces the other.
	size, cont := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(size, syscall.SIGWINCH)
	signal.Notify(cont, syscall.SIGCONT)
	go e.resized(size, cont)
	return e, nil
}

// lineEditor edits lines on a terminal.
type lineEditor struct {
	// Set before the first call, then read-only.
	options Options
	rl      *readline.Instance
	stdin   *readline.CancelableStdin
	display *display
	modes   modes
	done    chan struct{} // closed by Close
	secret  atomic.Bool   // the typed text is not shown

	// Held by the goroutine of the library while it changes the line.
	editing sync.Mutex
	buffer  buffer

	historyMu sync.Mutex // held while the history file is written
	history   *history

	mu      sync.Mutex
	reading bool
	edits   []edit // for the unitSep that the library has not delivered yet
	started bool   // reading of the first line has begun
	ended   bool   // the input has ended
	closed  bool
}

// result is the result of the library.
type result struct {
	line string
	err  error
}

func (e *lineEditor) ReadLine() (string, error) {
	e.mu.Lock()
	over := e.closed || e.ended
	e.reading = !over
	e.mu.Unlock()
	if over {
		return "", io.EOF
	}
	e.loadHistory()
	got := make(chan result, 1)
	go func() {
		defer RestoreOnPanic()
		line, err := e.rl.Readline()
		got <- result{line, err}
	}()
	var r result
	select {
	case r = <-got:
	case <-e.done: // the library may take longer
		return "", io.EOF
	}
	e.mu.Lock()
	over = e.closed || e.ended
	e.reading = false
	e.mu.Unlock()
	all := e.commit(r, over)
	switch {
	case over:
		return "", io.EOF
	case errors.Is(r.err, readline.ErrInterrupt):
		return expandPasted(r.line, all, false), ErrInterrupt
	case r.err != nil:
		return "", ErrLeave
	}
	return expandPasted(r.line, all, false), nil
}

// commit removes the line from the screen, or leaves it above later output, and returns its
// pasted texts.
func (e *lineEditor) commit(r result, over bool) (all []pasted) {
	var text string
	e.display.update(func(l *inputState) {
		all = l.pasted
		if text = cmp.Or(l.question, l.prompt); !e.secret.Load() {
			text += expandPasted(r.line, all, true)
		}
		*l = inputState{prompt: l.prompt, question: l.question}
	})
	switch {
	case errors.Is(r.err, readline.ErrInterrupt):
		text += "^C"
	case r.err != nil && !over:
		text += "^D"
	}
	if !e.options.Erase {
		e.display.write(item{text, false}, false)
	}
	return all
}

// OnChange is called by the library after each key, and with 0 when it begins to read a line.
func (e *lineEditor) OnChange(line []rune, at int, pressed rune) ([]rune, int, bool) {
	e.editing.Lock()
	defer e.editing.Unlock()
	b := &e.buffer
	switch pressed {
	case 0:
		e.mu.Lock()
		began := e.started
		e.started = true
		e.mu.Unlock()
		if !began {
			e.Write([]byte(pasteOn))
		}
		b.pasted = nil
		fallthrough
	case ctrlC, enter:
		b.search, b.line, b.cursor = search{}, nil, 0
		if pressed != 0 {
			return nil, 0, false // the library owns the finished line
		}
	case unitSep:
		e.mu.Lock()
		do := e.edits[0]
		e.edits = e.edits[1:]
		e.mu.Unlock()
		b.line, b.cursor = append(line[:at-1:at-1], line[at:]...), at-1
		do(b)
	default:
		b.acceptSearch()
		b.line, b.cursor = line, at
		if pressed == ctrlD { // the library deletes only a part of a character
			for at < len(b.line) && inCluster(b.line, at) {
				b.replaceAt(at, at+1)
			}
		}
	}
	e.show()
	return b.line, b.cursor, pressed != 0
}

// show has the current line drawn.
func (e *lineEditor) show() {
	b := &e.buffer
	e.mu.Lock()
	shown := e.reading && !e.closed
	e.mu.Unlock()
	line, at := append([]rune(nil), b.line...), b.cursor
	if e.secret.Load() {
		line, at = nil, 0
	}
	e.display.update(func(l *inputState) {
		l.shown, l.label, l.text, l.cursor, l.pasted = shown, b.label(), line, at, b.pasted
	})
}

func (e *lineEditor) Ask(question string) (string, error) {
	e.display.update(func(l *inputState) { l.question = question })
	defer e.display.update(func(l *inputState) { l.question = "" })
	return e.ReadLine()
}

func (e *lineEditor) AskSecret(question string) (string, error) {
	e.secret.Store(true)
	defer e.secret.Store(false)
	return e.Ask(question)
}

func (e *lineEditor) SetPrompt(prompt string) {
	e.display.update(func(l *inputState) { l.prompt = prompt })
}

func (e *lineEditor) AddHistory(line string) {
	if strings.Contains(line, "\n") {
		return
	}
	e.historyMu.Lock()
	defer e.historyMu.Unlock()
	e.history.add(line)
}

// loadHistory gives the whole history to the library, which itself cannot omit a line and
// would write a file that all users can read. No line may be read meanwhile.
func (e *lineEditor) loadHistory() {
	e.rl.ResetHistory()
	for _, l := range e.History() {
		_ = e.rl.SaveHistory(strings.Map(printable, l)) // without a file it cannot fail
	}
}

func (e *lineEditor) History() []string {
	e.historyMu.Lock()
	defer e.historyMu.Unlock()
	return append([]string(nil), e.history.lines...)
}

func (e *lineEditor) Print(text string) { e.display.write(item{text, false}, false) }

func (e *lineEditor) Write(p []byte) (int, error) {
	e.display.write(item{string(p), true}, false)
	return len(p), nil
}

func (e *lineEditor) Close() {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	e.mu.Unlock()
	if first {
		e.modes.end()
		var last []item
		e.display.mu.Lock()
		l := e.display.line
		e.display.mu.Unlock()
		if l.shown && !e.options.Erase {
			last = append(last, item{cmp.Or(l.question, l.prompt) + expandPasted(string(l.text), l.pasted, true), false})
		}
		e.display.end(last...)
		e.stdin.Close()
		close(e.done)
	}
	// The process may end after a second Close. By then the first one has queued the sequences
	// that restore the terminal.
	<-e.done
	e.display.flush()
}

// resized redraws the line when the terminal has another size, and when the process continues
// after a stop.
func (e *lineEditor) resized(size, cont chan os.Signal) {
	defer RestoreOnPanic()
	defer signal.Stop(size)
	defer signal.Stop(cont)
	for {
		select {
		case <-size:
		case <-cont:
			if e.modes.reapply() {
				e.Write([]byte(pasteOn))
				e.display.forgetDrawn()
			}
		case <-e.done:
			return
		}
		e.display.update(func(*inputState) {})
	}
}

// bell is the output of the library, of which only the bell matters.
type bell struct{ display *display }

func (b bell) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "\a") {
		b.display.write(item{"\a", true}, false)
	}
	return len(p), nil
}

// keys passes the input to the library, one key at a time: a character that the library
// handles, or unitSep for an edit.
type keys struct {
	editor *lineEditor
	from   decoder
	ready  []key
}

func (k *keys) Read(p []byte) (int, error) {
	e := k.editor
	for {
		for len(k.ready) == 0 {
			b := make([]byte, 4096)
			n, err := e.stdin.Read(b)
			k.ready = k.from.decode(b[:n])
			if err != nil && len(k.ready) == 0 {
				e.mu.Lock()
				e.ended = true
				e.mu.Unlock()
				return 0, io.EOF
			}
		}
		next := k.ready[0]
		k.ready = k.ready[1:]
		switch {
		case next.suspend:
			e.suspend()
		case next.native != 0:
			p[0] = next.native
			return 1, nil
		default:
			e.mu.Lock()
			e.edits = append(e.edits, next.edit)
			e.mu.Unlock()
			p[0] = unitSep
			return 1, nil
		}
	}
}

func (k *keys) Close() error { return nil }

// suspend stops the process group, as Ctrl-Z does if the terminal is not raw. (The library
// would stop the parent process instead.)
func (e *lineEditor) suspend() {
	ours, _ := unix.Getsid(0)
	if shell, err := unix.Getsid(os.Getppid()); err != nil || shell != ours {
		e.Write([]byte("\a")) // no shell could continue us, and the system does not stop an orphaned process group (setpgid(2))
		return
	}
	e.display.update(func(l *inputState) { l.shown = false })
	e.Write([]byte(pasteOff))
	e.display.flush()
	e.modes.restore()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGCONT)
	defer signal.Stop(again)
	syscall.Kill(0, syscall.SIGTSTP)
	select {
	case <-again:
	case <-time.After(100 * time.Millisecond): // the group was not stopped
	case <-e.done:
	}
	e.modes.raw()
	e.Write([]byte(pasteOn))
	e.mu.Lock()
	shown := e.reading && !e.closed
	e.mu.Unlock()
	e.display.update(func(l *inputState) { l.shown = shown })
}
