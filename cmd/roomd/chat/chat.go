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

// Run joins rooms and talks in them until the person leaves, ctx is done, or a signal
// ends it. Without a terminal it leaves at the end of In or at /quit, once all lines are
// in their rooms and all commands are answered, and fails if some lines are not. It takes over SIGINT, SIGTERM and SIGHUP, and the
// terminal.
func Run(ctx context.Context, server *client.Client, rooms []string, o Options) (err error) {
	c := &chat{server: server, password: o.Password, nick: o.Nick, style: newStyle(o.Out)}
	if c.nick == "" {
		c.nick = cmp.Or(os.Getenv(remote.NickVar), remote.LoginNick())
	}
	c.editor, err = term.New(term.Options{
		In: o.In, Out: o.Out, Prompt: "> ", History: historyFile(server.Addr()), Complete: c.complete, Erase: true,
		Indent: len("15:04 "),
	})
	if err != nil {
		return err
	}
	defer c.editor.Close()
	return c.run(ctx, rooms, term.IsTerminal(o.In), term.Editable(o.In, o.Out))
}

// historyFile is the file with the lines typed for a server.
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

// chat is a person at a terminal, in some rooms. One goroutine reads what is
// typed; each room has one that prints its events and one that sends.
type chat struct {
	// Set before run, then read-only.
	server   *client.Client
	editor   term.Editor
	password string // of the rooms that are joined at the start
	style    style
	ctx      context.Context
	tasks    sync.WaitGroup
	requests sync.WaitGroup // the tasks of commands that ask the server

	// Owned by the goroutine that reads.
	quitWarned bool // was warned that lines are on their way

	mu        sync.Mutex
	nick      string // for the next room
	rooms     []*membership
	joining   int         // rooms that it begins with, while it joins them
	current   *membership // nil: in no room
	lastDay   string      // of the last line printed
	listCache []client.RoomInfo
	listedAt  time.Time // when they were
}

// run reads and carries out lines until the person leaves.
func (c *chat) run(ctx context.Context, rooms []string, interactive, edits bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.ctx = ctx
	got := make(chan os.Signal, 1)
	// Where lines are edited Ctrl-C is a key. While one is carried out it is a
	// signal, and does nothing.
	signal.Notify(got, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	over := make(chan struct{})
	defer close(over)
	go func() { // to the very end: a task may wait for a terminal that nobody reads
		defer signal.Stop(got)
		for {
			select {
			case sig := <-got:
				if sig != os.Interrupt || !edits {
					cancel()
					c.editor.Close()
					return // a second signal ends the process at once
				}
			case <-over:
				return
			}
		}
	}()
	defer c.tasks.Wait()
	defer c.closeRooms()
	defer cancel()

	if interactive {
		c.say("connected to %s; /help lists the commands, /quit leaves", c.server.Addr())
	}
	opening := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.joining = n
	}
	opening(len(rooms))
	for _, name := range rooms {
		if err := c.join(name, c.password, interactive); err != nil {
			if !interactive {
				return err
			}
			c.say("%s: %v", name, err)
		}
	}
	opening(0)
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
		case err != nil:
			if !interactive {
				return c.drain()
			}
			return nil
		}
		switch leave := c.handleLine(line, interactive); {
		case leave && !interactive:
			return c.drain()
		case leave:
			return nil
		}
	}
}

// goTask runs beside the person.
func (c *chat) goTask(do func()) {
	c.tasks.Go(func() {
		defer term.RestoreOnPanic()
		do()
	})
}

// handleLine carries out a line and reports whether the person leaves.
func (c *chat) handleLine(line string, interactive bool) (leave bool) {
	lines := strings.Split(line, "\n")
	if len(lines) > 1 {
		c.paste(lines)
		return false
	}
	if strings.TrimSpace(line) == "" {
		return false
	}
	words := strings.Fields(line)
	if len(words) < 3 || words[0] != "/join" && words[0] != "/create" { // a password stands there
		c.editor.AddHistory(line)
	}
	if words[0] == "/quit" || words[0] == "/exit" {
		if n := c.pendingLines(); n > 0 && !c.quitWarned && interactive {
			c.quitWarned = true
			c.say("%s on the way; /quit once more leaves without them", english.PluralAre(n, "line"))
			return false
		}
		return true
	}
	c.quitWarned = false
	text, command := strings.CutPrefix(line, "/")
	if command && !strings.HasPrefix(text, "/") {
		c.runCommand(words[0][1:], strings.TrimSpace(strings.TrimPrefix(line, words[0])), interactive)
	} else if p := c.currentRoom(); p != nil {
		p.enqueue(client.Message, text)
	}
	return false
}

// paste sends pasted lines as they are.
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

// confirm asks a question.
func (c *chat) confirm(question string) bool {
	answer, err := c.editor.Ask(question + " [y/N] ")
	c.updatePrompt()
	return err == nil && term.IsYes(answer)
}

// currentRoom is the current room, or nil, and then it says so.
func (c *chat) currentRoom() *membership {
	c.mu.Lock()
	p := c.current
	c.mu.Unlock()
	if p == nil {
		c.say("you are in no room: /join ROOM, /rooms lists them")
	}
	return p
}

// updatePrompt shows where we are, and what is on its way.
func (c *chat) updatePrompt() {
	c.mu.Lock()
	p := c.current
	c.mu.Unlock()
	if p == nil {
		c.editor.SetPrompt("> ")
		return
	}
	c.editor.SetPrompt(p.prompt())
}

// pendingLines is how many lines are not in their rooms yet.
func (c *chat) pendingLines() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.rooms {
		n += p.pendingLines()
	}
	return n
}

// goRequest starts a task that asks the server, and prints what it answers.
func (c *chat) goRequest(do func(context.Context)) {
	c.requests.Add(1)
	c.goTask(func() {
		defer c.requests.Done()
		ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
		defer cancel()
		do(ctx)
	})
}

// drain waits until all lines are in their rooms and all commands are answered, where
// no person can.
func (c *chat) drain() error {
	c.mu.Lock()
	rooms := slices.Clone(c.rooms)
	c.mu.Unlock()
	lost := 0
	for _, p := range rooms {
		lost += p.drain(c.ctx)
	}
	c.requests.Wait() // each ends with c.ctx, and within half a minute
	if lost > 0 {
		return fmt.Errorf("%s not sent", english.PluralAre(lost, "line"))
	}
	return nil
}

// say prints what the chat itself has to say.
func (c *chat) say(format string, args ...any) {
	c.editor.Print(c.style.notice(fmt.Sprintf(format, args...)))
}

// printEvent prints an event's line, with a line for the day before it if it is
// another one.
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
