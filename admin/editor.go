package admin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/chzyer/readline"

	"roomd/netsvc"
)

// Editor reads lines from a person while other goroutines print whole lines
// above the one that is being typed. There is one in a process.
type Editor interface {
	// ReadLine returns the next line. The error is ErrInterrupt after Ctrl-C,
	// with what had been typed, and io.EOF after Ctrl-D, at the end of the
	// input and after Close: what was half-typed then is dropped. Only what was
	// pasted can have line ends in it. One goroutine at a time may call it.
	ReadLine() (string, error)
	// SetPrompt sets what stands before the line, also while it is typed.
	SetPrompt(prompt string)
	// Remember adds a line to the history; one that is the same goes. Several
	// lines are not remembered.
	Remember(line string)
	// Past returns the history, the latest line last. It is for who reads, as
	// Remember is.
	Past() []string
	// Print prints lines above the one that is typed, which stays as it is. It
	// waits for the terminal, and adds the last line's end.
	Print(text string)
	// Close gives the terminal back. It may be called from any goroutine and
	// more than once; a ReadLine that is under way returns first.
	Close()
}

// ErrInterrupt is what Editor.ReadLine returns after Ctrl-C.
var ErrInterrupt = readline.ErrInterrupt

// IsTerminal reports whether a person sits at the other end of a file.
func IsTerminal(f *os.File) bool { return readline.IsTerminal(int(f.Fd())) }

// Editable reports whether an Editor edits lines, or only reads them as they
// come: both must be the process's terminal, and it must move its cursor.
func Editable(in io.Reader, out io.Writer) bool {
	return in == os.Stdin && out == os.Stdout && readline.DefaultIsTerminal() && os.Getenv("TERM") != "dumb"
}

// EditorOptions say where an Editor reads and writes.
type EditorOptions struct {
	// Lines are edited if the two are Editable. Otherwise In is read line by
	// line, and no prompt is shown.
	In  io.Reader
	Out io.Writer

	Prompt string
	// History is the file of past lines, which only its owner can read. Empty:
	// they are remembered while the process lives.
	History string
	// Complete returns the words that may stand where the last word of before
	// stands, which is behind its last space. It may take a moment.
	Complete func(before string) []string
	// Erase takes a line off the screen once it has been read.
	Erase bool
}

// NewEditor takes over the terminal, if there is one. Close must follow.
func NewEditor(o EditorOptions) (Editor, error) {
	stdin := readline.NewCancelableStdin(o.In)
	if !Editable(o.In, o.Out) {
		return &plainEditor{stdin: stdin, in: bufio.NewReader(stdin), out: o.Out}, nil
	}
	e := &lineEditor{stdin: stdin, restored: make(chan struct{}), past: openPast(o.History)}
	e.turn.L = &e.mu
	cfg := &readline.Config{
		Prompt: o.Prompt, HistoryLimit: mostPast + 1, DisableAutoSaveHistory: true, HistorySearchFold: true,
		Stdin: &keys{editor: e, from: stdin}, Stdout: o.Out, UniqueEditLine: o.Erase, Painter: showTabs{},
	}
	if o.Complete != nil {
		cfg.AutoComplete = completer(o.Complete)
	}
	rl, err := readline.NewEx(cfg)
	if err != nil {
		return nil, err
	}
	e.rl = rl
	io.WriteString(o.Out, pasteOn)
	e.recall()
	return e, nil
}

// lineEditor edits on a terminal. Whoever prints while the library draws the
// prompt, or takes a line, would tear it: turn makes them wait for that moment.
type lineEditor struct {
	// Set before the first call, then read-only.
	rl       *readline.Instance
	stdin    *readline.CancelableStdin
	restore  sync.Once
	restored chan struct{} // closed when the terminal is given back

	past *past // owned by who reads

	mu     sync.Mutex
	turn   sync.Cond // busy or shown has changed
	busy   bool      // a ReadLine is under way
	shown  bool      // the prompt is there and keys are waited for; set by keys
	closed bool
	pasted paste
}

func (e *lineEditor) ReadLine() (string, error) {
	e.mu.Lock()
	closed := e.closed
	e.busy = !closed
	e.mu.Unlock()
	if closed {
		return "", io.EOF
	}
	line, err := e.rl.Readline()
	e.mu.Lock()
	e.busy = false
	closed = e.closed
	line = e.pasted.expand(line)
	e.turn.Broadcast()
	e.mu.Unlock()
	if closed {
		e.giveBack()
		return "", io.EOF
	}
	return line, err
}

func (e *lineEditor) setShown(to bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shown = to
	e.turn.Broadcast()
}

// wait returns when a print would not tear the prompt. mu is held. It is a
// moment: the library is drawing the prompt or taking a line.
func (e *lineEditor) wait() {
	for e.busy && !e.shown {
		e.turn.Wait()
	}
}

func (e *lineEditor) SetPrompt(prompt string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wait()
	if e.busy {
		e.rl.Clean()
	}
	e.rl.SetPrompt(prompt)
	if e.busy {
		e.rl.Refresh()
	}
}

func (e *lineEditor) Remember(line string) {
	if strings.Contains(line, "\n") {
		return
	}
	e.past.add(line)
	e.recall()
}

// recall gives the library the history anew: it cannot leave out a line, and
// would write a file that all can read.
func (e *lineEditor) recall() {
	e.rl.ResetHistory()
	for _, l := range e.past.lines {
		_ = e.rl.SaveHistory(l) // it has no file, and cannot fail
	}
}

func (e *lineEditor) Past() []string { return e.past.lines }

func (e *lineEditor) Print(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wait()
	io.WriteString(e.rl.Stdout(), text+"\n")
}

func (e *lineEditor) Close() {
	e.mu.Lock()
	e.closed = true
	busy := e.busy
	e.mu.Unlock()
	e.stdin.Close()
	if !busy {
		e.giveBack()
	}
	<-e.restored
}

// giveBack closes the library, which would hang while it reads.
func (e *lineEditor) giveBack() {
	e.restore.Do(func() {
		io.WriteString(e.rl.Config.Stdout, pasteOff)
		e.rl.Close()
		close(e.restored)
	})
}

// keys is what is typed, on its way to the library. It hands out no more than
// the end of a line at a time: then the library reads again exactly when it has
// drawn its prompt and waits for keys.
type keys struct {
	editor *lineEditor
	from   io.Reader
	rest   []byte
	err    error
}

func (k *keys) Read(p []byte) (int, error) {
	k.editor.setShown(true)
	for len(k.rest) == 0 && k.err == nil {
		b := make([]byte, 4096)
		var n int
		n, k.err = k.from.Read(b)
		k.editor.mu.Lock()
		k.rest = k.editor.pasted.filter(b[:n])
		k.editor.mu.Unlock()
		if bytes.IndexByte(k.rest, ctrlZ) >= 0 {
			k.rest = bytes.ReplaceAll(k.rest, []byte{ctrlZ}, nil)
			k.editor.suspend()
		}
	}
	n := copy(p, k.rest)
	i := bytes.IndexAny(k.rest[:n], "\r\n\x03\x04")
	if i >= 0 {
		n = i + 1
	}
	k.rest = k.rest[n:]
	if i >= 0 || n == 0 {
		k.editor.setShown(false)
	}
	if n == 0 {
		return 0, k.err
	}
	return n, nil
}

func (k *keys) Close() error { return nil }

const ctrlZ = 26

// suspend stops the process group, as Ctrl-Z does where the terminal is not raw.
// (The library's own way would stop whoever started us, and not the group.)
func (e *lineEditor) suspend() {
	e.rl.Clean()
	io.WriteString(e.rl.Config.Stdout, pasteOff)
	e.rl.Terminal.ExitRawMode()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGCONT)
	defer signal.Stop(again)
	syscall.Kill(0, syscall.SIGTSTP)
	select {
	case <-again:
	case <-time.After(time.Second): // nobody is there to wake us: it was not done
	}
	e.rl.Terminal.EnterRawMode()
	io.WriteString(e.rl.Config.Stdout, pasteOn)
	e.rl.Refresh()
}

// completer completes the last word of what is typed.
type completer func(before string) []string

func (c completer) Do(line []rune, pos int) (endings [][]rune, length int) {
	typed := string(line[:pos])
	last := typed[strings.LastIndexAny(typed, " \t")+1:]
	for _, w := range c(typed) {
		if e, ok := ending(w, last); ok {
			endings = append(endings, append([]rune(e), ' '))
		}
	}
	return endings, utf8.RuneCountInString(last)
}

// ending is what has to follow what was typed to make a word of it, which may be
// written in other ways: in capitals, with combining marks, in full width.
func ending(word, typed string) (string, bool) {
	want := netsvc.Fold(typed)
	for i := range word {
		if netsvc.Fold(word[:i]) == want {
			return word[i:], true
		}
	}
	return "", netsvc.Fold(word) == want
}

// plainEditor reads from a pipe, or from a terminal that cannot move its cursor.
type plainEditor struct {
	stdin *readline.CancelableStdin
	in    *bufio.Reader
	gone  atomic.Bool

	mu  sync.Mutex
	out io.Writer
}

func (p *plainEditor) ReadLine() (string, error) {
	line, err := p.in.ReadString('\n')
	switch {
	case p.gone.Load():
		return "", io.EOF
	case errors.Is(err, io.EOF) && line != "":
		err = nil // the last line may have no end
	}
	return strings.TrimRight(line, "\r\n"), err
}

func (p *plainEditor) Print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.out, text)
}

func (p *plainEditor) SetPrompt(string) {}
func (p *plainEditor) Remember(string)  {}
func (p *plainEditor) Past() []string   { return nil }

func (p *plainEditor) Close() {
	p.gone.Store(true)
	p.stdin.Close()
}
