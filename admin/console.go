package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"roomd/admin/term"
)

// Console is the prompt. It works through the socket, also inside the process of the server.
type Console struct {
	// ConfirmLeave, if not nil, is called before the operator leaves by quit or Ctrl-D. It
	// returns the question to ask first, or "". A server with its own console sets it before
	// Run: SIGTERM and SIGHUP are then for the server.
	ConfirmLeave func() (question string)

	path   string
	editor term.Editor

	print chan string // whole lines, to be printed above the prompt
	done  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup

	color    bool       // the terminal has colours
	screenMu sync.Mutex // a live table holds it while it is on the screen; other output waits

	mu         sync.Mutex
	watches    []context.CancelFunc
	cancelLine context.CancelFunc // ends the line that is being carried out
	closing    bool               // Close was called
	dropped    uint64             // lines that were not printed
	left       bool               // the printer has ended: output goes to the editor, which does not wait any more
}

// NewConsole takes over the terminal. history is the file of past lines; empty: lines are not
// stored. Run must follow.
func NewConsole(path, history string) (*Console, error) {
	c := &Console{path: path, print: make(chan string, 1024)}
	var err error
	c.editor, err = term.New(term.Options{In: os.Stdin, Out: os.Stdout, Prompt: "roomd> ", History: history, Complete: c.complete, Indent: indent})
	if err != nil {
		return nil, err
	}
	c.color = hasColors(os.Stdout)
	c.done, c.end = context.WithCancel(context.Background())
	c.goTask(c.printer)
	return c, nil
}

// goTask runs do beside the prompt until the operator has left.
func (c *Console) goTask(do func()) {
	c.tasks.Go(func() {
		defer term.RestoreOnPanic()
		do()
	})
}

// HistoryFile returns the file of the console's past lines, or "".
func HistoryFile() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, ".roomd_history")
}

// signals closes the console on SIGTERM and SIGHUP. While a command runs the terminal is not
// raw: Ctrl-C is SIGINT then, and ends the command.
func (c *Console) signals(got chan os.Signal) {
	defer signal.Stop(got)
	for {
		select {
		case sig := <-got:
			if sig != syscall.SIGINT {
				c.Close()
				return // a second signal ends the process at once
			}
			c.mu.Lock()
			if c.cancelLine != nil {
				c.cancelLine()
			}
			c.mu.Unlock()
			c.endWatches()
		case <-c.done.Done():
			return
		}
	}
}

// printer prints whole lines above the prompt.
func (c *Console) printer() {
	reported := uint64(0) // of the dropped lines
	for {
		select {
		case l := <-c.print:
			c.screenMu.Lock()
			c.editor.Print(l)
			c.screenMu.Unlock()
			if n := c.Dropped() - reported; n > 0 {
				reported += n
				c.editor.Print(fmt.Sprintf("(%s not shown: they came too fast)", count(n, "line")))
			}
		case <-c.done.Done():
			return
		}
	}
}

// Write prints the lines of a log above the prompt. It never waits.
func (c *Console) Write(p []byte) (int, error) {
	for l := range strings.Lines(string(p)) {
		c.printAbove(strings.TrimSuffix(l, "\n"))
	}
	return len(p), nil
}

// Dropped returns the number of lines that came too fast to be printed.
func (c *Console) Dropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

func (c *Console) printAbove(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left { // nothing reads the channel any more
		c.editor.Print(line)
		return
	}
	select {
	case c.print <- line:
	default:
		c.dropped++
	}
}

// Close makes Run return. It may be called from any goroutine.
func (c *Console) Close() {
	c.mu.Lock()
	c.closing = true
	if c.cancelLine != nil {
		c.cancelLine()
	}
	c.mu.Unlock()
	c.editor.Close()
}

// Run reads lines and carries them out until the operator leaves or Close is called.
func (c *Console) Run() {
	c.goTask(c.watchServer)
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGINT)
	if c.ConfirmLeave == nil { // otherwise the server handles them
		signal.Notify(got, syscall.SIGTERM, syscall.SIGHUP)
	}
	c.goTask(func() { c.signals(got) })
	defer c.Leave()
	for {
		line, err := c.editor.ReadLine()
		switch {
		case errors.Is(err, term.ErrInterrupt):
			switch ended := c.endWatches(); {
			case ended || line != "":
			case c.ConfirmLeave != nil:
				c.editor.Print("quit or Ctrl-D stops the server")
			default:
				c.editor.Print("quit or Ctrl-D leaves the console; stop stops the server")
			}
			continue
		case errors.Is(err, term.ErrLeave):
			if c.confirmLeave() {
				return
			}
			continue
		case err != nil:
			return
		}
		for l := range strings.Lines(line) { // a paste can have several lines
			if c.isClosing() || !c.runLine(strings.TrimSpace(l)) {
				return
			}
		}
	}
}

// runLine carries out a line and reports whether the operator stays.
func (c *Console) runLine(line string) (stays bool) {
	if line == "" {
		return true
	}
	cmd, args, flags, err := parse(line)
	if err != nil || !hasPassword(cmd, args) {
		c.editor.AddHistory(line)
	}
	switch {
	case line == "exit", err == nil && cmd.name == "quit":
		return !c.confirmLeave()
	case err == nil && cmd.name == "history":
		c.editor.Print(strings.Join(c.editor.History(), "\n"))
	case err == nil && isTable(cmd, args, flags):
		c.table(line)
	case err == nil && cmd.stream:
		c.watch(line)
	default:
		c.runCommand(line)
	}
	return true
}

// confirmLeave reports whether the operator leaves, after a question if there is one.
func (c *Console) confirmLeave() bool {
	if c.ConfirmLeave == nil {
		return true
	}
	question := c.ConfirmLeave()
	return question == "" || c.ask(question)
}

// Leave gives the terminal back. Later output is printed at once; a second Leave waits for it.
// It must be called by the goroutine that reads lines, or when no goroutine does.
func (c *Console) Leave() {
	c.endWatches()
	c.end()
	c.editor.Close()
	c.tasks.Wait()
	c.mu.Lock()
	for c.left = true; len(c.print) > 0; {
		c.editor.Print(<-c.print)
	}
	c.mu.Unlock()
	c.editor.Close()
}

// foreground returns a context that Ctrl-C ends, for a command that has the terminal to
// itself.
func (c *Console) foreground() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancelLine = cancel; c.closing {
		cancel()
	}
	return ctx, cancel
}

// isClosing reports whether Close was called.
func (c *Console) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// withColor asks for an answer with colours, if the terminal has them.
func (c *Console) withColor(line string) string {
	if c.color {
		return withColor(line)
	}
	return line
}

// runCommand carries out one command.
func (c *Console) runCommand(line string) {
	ctx, cancel := c.foreground()
	defer cancel()
	show := c.editor.Print
	p := asker{c.ask, func(prompt string) (string, error) { return askTwice(c.editor.AskSecret, prompt) }}
	a, err := p.converse(ctx, c.path, c.withColor(line), show)
	switch {
	case errors.Is(err, errDeclined):
		show(err.Error())
	case c.isClosing(): // the log says how the stop ends
	case ctx.Err() != nil:
		show("(interrupted; the command may have been carried out)")
	case err != nil:
		show("the server cannot be reached: " + err.Error())
	case a.word != "OK":
		show(a.text)
	}
}

// ask asks before a destructive command.
func (c *Console) ask(text string) bool {
	c.editor.Print("this " + text)
	answer, err := c.editor.Ask("do it? [y/N] ")
	return err == nil && term.IsYes(answer)
}

// table draws a live table in place until Ctrl-C. Without a terminal it prints the frames one
// after the other.
func (c *Console) table(line string) {
	ctx, cancel := c.foreground()
	defer cancel()
	c.screenMu.Lock()
	show := c.editor.Print
	var s *screen
	if tty, ok := canDraw(os.Stdout); ok {
		s = openScreen(tty, c.editor)
		show = s.line
	}
	a, err := requestStream(ctx, c.path, c.withColor(line), show, func(string) {})
	if s != nil {
		s.close()
	}
	c.screenMu.Unlock()
	viewed(ctx, a, err, c.editor.Print)
}

// viewed prints why a view has ended, unless the operator ended it.
func viewed(ctx context.Context, a verdict, err error, show func(string)) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		show("(the view has ended: " + err.Error() + ")")
	case a.word != "OK":
		show(a.text)
	}
}

// watch runs a stream beside the prompt until Ctrl-C.
func (c *Console) watch(line string) {
	ctx, cancel := context.WithCancel(c.done)
	c.mu.Lock()
	c.watches = append(c.watches, cancel)
	c.mu.Unlock()
	c.printAbove("(Ctrl-C ends this view)")
	c.goTask(func() {
		defer cancel()
		a, err := requestStream(ctx, c.path, c.withColor(line), c.printAbove, c.printAbove)
		viewed(ctx, a, err, c.printAbove)
	})
}

// endWatches ends all views and reports whether there was one.
func (c *Console) endWatches() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := len(c.watches) > 0
	for _, end := range c.watches {
		end()
	}
	c.watches = nil
	return was
}

// watchServer prints when the server goes and when it is back.
func (c *Console) watchServer() {
	const pause = 500 * time.Millisecond
	for here := true; ; {
		began := time.Now()
		conn, err := new(net.Dialer).DialContext(c.done, "unix", c.path)
		if c.done.Err() == nil && here != (err == nil) {
			here = err == nil
			c.printAbove(map[bool]string{true: "(the server is back)", false: "(the server is gone; waiting for it)"}[here])
		}
		if err == nil {
			stop := context.AfterFunc(c.done, func() { conn.Close() })
			io.Copy(io.Discard, conn) // until the server ends
			stop()
			conn.Close()
		}
		select { // the server may end each connection at once
		case <-time.After(pause - time.Since(began)):
		case <-c.done.Done():
			return
		}
	}
}

// complete asks the server for the words that can end a line.
func (c *Console) complete(before string) []string {
	ctx, cancel := context.WithTimeout(c.done, time.Second)
	defer cancel()
	return completions(ctx, c.path, before)
}
