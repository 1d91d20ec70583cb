package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"roomd/admin/english"
	"roomd/admin/term"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/client"
)

// Options are the person and the streams of a chat.
type Options struct {
	// Nick in the rooms. Empty: that of remote.NickVar, else the login.
	Nick string
	// Password of the rooms that are joined at the start.
	Password string
	// Lines are read from In and printed on Out, and edited if term.Editable says so.
	In  io.Reader
	Out io.Writer
}

// Run joins rooms and talks in them until the person leaves, ctx is done, or a signal arrives.
// Without a terminal it leaves at the end of In or at /quit, when all lines are in their rooms
// and all commands are answered; lines that could not be sent are an error. Run handles
// SIGINT, SIGTERM and SIGHUP, and owns the terminal.
func Run(ctx context.Context, server *client.Client, rooms []string, o Options) (err error) {
	c := &chat{
		server: server, password: o.Password, style: newStyle(o.Out), interactive: term.IsTerminal(o.In),
		nick: cmp.Or(o.Nick, os.Getenv(remote.NickVar), remote.LoginNick()),
	}
	c.editor, err = term.New(term.Options{
		In: o.In, Out: o.Out, Prompt: "> ", History: historyFile(server.Addr()), Complete: c.complete, Erase: true,
		Indent: len("15:04 "),
	})
	if err != nil {
		return err
	}
	defer c.editor.Close()
	return c.run(ctx, rooms, term.Editable(o.In, o.Out))
}

// historyFile returns the file with the typed lines for a server.
func historyFile(addr string) string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, addr)
	return filepath.Join(home, ".roomd_chat_"+safe)
}

// chat is the state of Run.
type chat struct {
	// Set before run, then read-only.
	server      *client.Client
	editor      term.Editor
	password    string // of the rooms that are joined at the start
	interactive bool   // lines come from a terminal
	style       style
	ctx         context.Context
	tasks       sync.WaitGroup
	requests    sync.WaitGroup // the tasks of goRequest

	// Owned by the goroutine that reads.
	quitWarned bool // the person was warned of pending lines

	mu        sync.Mutex
	nick      string // for the next room
	rooms     []*membership
	joining   int         // number of rooms that are being joined at the start; then 0
	current   *membership // nil: the person is in no room
	lastDay   string      // of the last printed line
	listCache []client.RoomInfo
	listedAt  time.Time // when listCache was filled
}

// run reads and carries out lines until the person leaves. edits says that lines are edited at
// a terminal.
func (c *chat) run(ctx context.Context, rooms []string, edits bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.ctx = ctx
	stop := c.handleSignals(edits, cancel)
	defer stop()
	defer c.tasks.Wait()
	defer c.closeRooms()
	defer cancel()

	if c.interactive {
		c.say("connected to %s; /help lists the commands, /quit leaves", c.server.Addr())
	}
	setJoining := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.joining = n
	}
	setJoining(len(rooms))
	for _, name := range rooms {
		if err := c.join(name, c.password); err != nil {
			if !c.interactive {
				return err
			}
			c.say("%s: %v", name, err)
		}
	}
	setJoining(0)
	if len(rooms) == 0 {
		c.showRooms()
	}
	for {
		line, err := c.editor.ReadLine()
		switch {
		case errors.Is(err, term.ErrInterrupt):
			if line == "" {
				c.say("/quit or Ctrl-D leaves")
			}
			continue
		case err == nil && !c.handleLine(line):
		case c.interactive:
			return nil
		default:
			return c.drain()
		}
	}
}

// handleSignals ends the chat at a signal, until stop is called: also while a task waits for a
// terminal that nobody reads. Where lines are edited, Ctrl-C is a key; during a command it is
// a SIGINT, which is ignored. A second signal ends the process at once.
func (c *chat) handleSignals(edits bool, cancel func()) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case sig := <-signals:
				if sig != os.Interrupt || !edits {
					cancel()
					c.editor.Close()
					return
				}
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}

// goTask runs a function on a goroutine that run waits for.
func (c *chat) goTask(do func()) {
	c.tasks.Go(func() {
		defer term.RestoreOnPanic()
		do()
	})
}

// handleLine carries out a typed line, and reports whether the person leaves.
func (c *chat) handleLine(line string) (leave bool) {
	lines := strings.Split(line, "\n")
	if len(lines) > 1 {
		c.paste(lines)
		return false
	}
	if strings.TrimSpace(line) == "" {
		return false
	}
	words := strings.Fields(line)
	if len(words) < 3 || words[0] != "/join" && words[0] != "/create" { // the third word is a password
		c.editor.AddHistory(line)
	}
	if words[0] == "/quit" || words[0] == "/exit" {
		if n := c.pendingLines(); n > 0 && !c.quitWarned && c.interactive {
			c.quitWarned = true
			c.say("%s not sent yet; /quit again leaves without sending", english.PluralAre(n, "line"))
			return false
		}
		return true
	}
	c.quitWarned = false
	text, command := strings.CutPrefix(line, "/")
	if command && !strings.HasPrefix(text, "/") {
		c.runCommand(words[0][1:], strings.TrimSpace(strings.TrimPrefix(line, words[0])))
	} else if p := c.currentRoom(); p != nil {
		p.enqueue(client.Message, text)
	}
	return false
}

// paste sends pasted lines unchanged.
func (c *chat) paste(lines []string) {
	const many = 10
	p := c.currentRoom()
	if p == nil {
		return
	}
	if len(lines) > many && !c.confirm(fmt.Sprintf("send %d lines to %s?", len(lines), p.name)) {
		c.say("nothing was sent")
		return
	}
	for _, l := range lines {
		p.enqueue(client.Message, l)
	}
}

// confirm asks a question, and reports whether the answer is yes.
func (c *chat) confirm(question string) bool {
	answer, err := c.editor.Ask(question + " [y/N] ")
	c.updatePrompt()
	return err == nil && term.IsYes(answer)
}

// room returns the current room; nil: the person is in no room.
func (c *chat) room() *membership {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// currentRoom is room, with a message to the person who is in no room.
func (c *chat) currentRoom() *membership {
	p := c.room()
	if p == nil {
		c.say("you are in no room: /join ROOM joins one, /rooms lists them")
	}
	return p
}

// updatePrompt shows the current room and the number of its pending lines.
func (c *chat) updatePrompt() {
	p := c.room()
	if p == nil {
		c.editor.SetPrompt("> ")
		return
	}
	c.editor.SetPrompt(p.prompt())
}

// joined returns the rooms that the person is in.
func (c *chat) joined() []*membership {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.rooms)
}

// pendingLines returns how many lines are not in their rooms yet.
func (c *chat) pendingLines() (n int) {
	for _, p := range c.joined() {
		n += p.pendingLines()
	}
	return n
}

// goRequest starts a task that asks the server and prints the answer.
func (c *chat) goRequest(do func(context.Context)) {
	c.requests.Add(1)
	c.goTask(func() {
		defer c.requests.Done()
		ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
		defer cancel()
		do(ctx)
	})
}

// drain waits until all lines are in their rooms and all commands are answered, when there is
// no person who could wait.
func (c *chat) drain() error {
	lost := 0
	for _, p := range c.joined() {
		lost += p.drain(c.ctx)
	}
	c.requests.Wait() // each request ends with c.ctx or its timeout
	if lost > 0 {
		return fmt.Errorf("%s not sent", english.PluralAre(lost, "line"))
	}
	return nil
}

// say prints a message of the chat itself.
func (c *chat) say(format string, args ...any) {
	c.editor.Print(c.style.notice(fmt.Sprintf(format, args...)))
}

// printEvent prints the line of an event, after a line with the date if the day has changed.
func (c *chat) printEvent(at time.Time, line string) {
	c.mu.Lock()
	day := at.Local().Format("Monday, 2 January 2006")
	if day != c.lastDay && !(c.lastDay == "" && day == time.Now().Format("Monday, 2 January 2006")) {
		line = c.style.notice(day) + "\n" + line
	}
	c.lastDay = day
	c.mu.Unlock()
	c.editor.Print(line)
}
