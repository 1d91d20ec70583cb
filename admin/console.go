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

	"github.com/chzyer/readline"
)

// Console is the prompt. It works over the socket, also inside the server's own
// process.
type Console struct {
	path  string
	rl    *readline.Instance
	stdin *readline.CancelableStdin

	print chan string // whole lines for above the prompt
	done  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup
	leave sync.Once

	mu      sync.Mutex
	watches []context.CancelFunc
	current context.CancelFunc // ends the line being carried out
	missed  int                // lines that were too many to be printed
}

// NewConsole takes over the terminal. history is the file of past lines; empty:
// none is kept. Run must follow.
func NewConsole(path, history string) (*Console, error) {
	if history != "" {
		// The library would make it readable for all.
		f, err := os.OpenFile(history, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			history = "" // a console without a past is still one
		} else {
			f.Close()
		}
	}
	c := &Console{path: path, stdin: readline.NewCancelableStdin(os.Stdin), print: make(chan string, 1024)}
	rl, err := readline.NewEx(&readline.Config{
		Prompt: "roomd> ", HistoryFile: history, HistoryLimit: 1000, DisableAutoSaveHistory: true,
		HistorySearchFold: true, AutoComplete: completer{c}, Stdin: c.stdin, InterruptPrompt: "", EOFPrompt: "",
	})
	if err != nil {
		return nil, err
	}
	c.rl = rl
	c.done, c.end = context.WithCancel(context.Background())
	c.tasks.Go(c.printer)
	return c, nil
}

// IsTerminal reports whether a person sits at the other end of a file.
func IsTerminal(f *os.File) bool { return readline.IsTerminal(int(f.Fd())) }

// HistoryFile is where the console's past lines are kept.
func HistoryFile() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, ".roomd_history")
}

// signals ends the console in good order on SIGTERM and SIGHUP. While a line is
// carried out the terminal is not raw, and Ctrl-C is a signal: it ends that.
func (c *Console) signals(got chan os.Signal) {
	defer signal.Stop(got)
	for {
		select {
		case sig := <-got:
			if sig != syscall.SIGINT {
				c.Close()
				return
			}
			c.mu.Lock()
			if c.current != nil {
				c.current()
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
	for {
		select {
		case l := <-c.print:
			io.WriteString(c.rl.Stdout(), l+"\n")
		case <-c.done.Done():
			return
		}
	}
}

// Write prints the lines of a log above the prompt. It never waits.
func (c *Console) Write(p []byte) (int, error) {
	for l := range strings.Lines(string(p)) {
		c.above(strings.TrimSuffix(l, "\n"))
	}
	return len(p), nil
}

func (c *Console) above(line string) {
	select {
	case c.print <- line:
	default:
		c.mu.Lock()
		c.missed++
		c.mu.Unlock()
	}
}

// Close makes Run return. It may be called from any goroutine.
func (c *Console) Close() { c.stdin.Close() }

// Run reads lines and carries them out until the operator leaves or Close is
// called.
func (c *Console) Run() {
	c.tasks.Go(c.presence)
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	c.tasks.Go(func() { c.signals(got) })
	defer c.Leave()
	last := ""
	for {
		line, err := c.rl.Readline()
		switch {
		case errors.Is(err, readline.ErrInterrupt):
			if !c.endWatches() && line == "" {
				fmt.Fprintln(c.rl.Stdout(), "quit or Ctrl-D leaves the console; stop stops the server")
			}
			continue
		case err != nil:
			return
		}
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if line != last {
			c.rl.SaveHistory(line)
			last = line
		}
		if line == "quit" || line == "exit" {
			return
		}
		c.line(line)
	}
}

// Leave gives the terminal back; a second time it does nothing. It is for who
// reads, or when nobody does: closing readline from elsewhere would hang.
func (c *Console) Leave() {
	c.leave.Do(func() {
		c.endWatches()
		c.end()
		c.tasks.Wait()
		c.stdin.Close()
		c.rl.Close()
	})
}

// line carries out one line. A stream runs beside the prompt.
func (c *Console) line(line string) {
	if cmd, _, _, err := parse(line); err == nil && cmd.stream {
		c.watch(line)
		return
	}
	ctx, cancel := context.WithCancel(c.done)
	defer cancel()
	c.mu.Lock()
	c.current = cancel
	c.mu.Unlock()
	show := func(l string) { fmt.Fprintln(c.rl.Stdout(), l) }
	a, err := do(ctx, c.path, line, show)
	if err == nil && a.verdict == "ASK" {
		if !c.ask(a.text) {
			show("nothing was done")
			return
		}
		a, err = do(ctx, c.path, line+" --token "+a.code, show)
	}
	switch {
	case ctx.Err() != nil:
		show("(not waited for; it may be done all the same)")
	case err != nil:
		show("the server cannot be reached: " + err.Error())
	case a.verdict != "OK":
		show(a.text)
	}
}

// ask asks before something is destroyed.
func (c *Console) ask(text string) bool {
	fmt.Fprintln(c.rl.Stdout(), "this "+text)
	c.rl.SetPrompt("do it? [y/N] ")
	defer c.rl.SetPrompt("roomd> ")
	answer, err := c.rl.Readline()
	return err == nil && strings.EqualFold(strings.TrimSpace(answer), "y")
}

// watch runs a stream beside the prompt until Ctrl-C.
func (c *Console) watch(line string) {
	ctx, cancel := context.WithCancel(c.done)
	c.mu.Lock()
	c.watches = append(c.watches, cancel)
	c.mu.Unlock()
	c.above("(Ctrl-C ends this view)")
	c.tasks.Go(func() {
		defer cancel()
		a, err := do(ctx, c.path, line, c.above)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			c.above("(the view has ended: " + err.Error() + ")")
		case a.verdict != "OK":
			c.above(a.text)
		}
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

// presence says when the server goes and when it is back.
func (c *Console) presence() {
	const pause = 500 * time.Millisecond
	here := true
	for {
		conn, err := net.Dial("unix", c.path)
		if err != nil {
			if here {
				here = false
				c.above("(the server is gone; waiting for it)")
			}
			t := time.NewTimer(pause)
			select {
			case <-t.C:
				continue
			case <-c.done.Done():
				t.Stop()
				return
			}
		}
		if !here {
			here = true
			c.above("(the server is back)")
		}
		stop := context.AfterFunc(c.done, func() { conn.Close() })
		io.Copy(io.Discard, conn) // until the server ends
		stop()
		conn.Close()
		if c.done.Err() != nil {
			return
		}
	}
}

// completer completes words as they are now, by asking the server.
type completer struct{ c *Console }

func (t completer) Do(line []rune, pos int) (endings [][]rune, length int) {
	typed := string(line[:pos])
	last := typed[strings.LastIndexAny(typed, " \t")+1:]
	ctx, cancel := context.WithTimeout(t.c.done, time.Second)
	defer cancel()
	_, err := do(ctx, t.c.path, "complete "+Join([]string{typed}), func(w string) {
		if r := []rune(w); len(r) >= len([]rune(last)) {
			endings = append(endings, append(r[len([]rune(last)):], ' '))
		}
	})
	if err != nil {
		return nil, 0
	}
	return endings, len([]rune(last))
}
