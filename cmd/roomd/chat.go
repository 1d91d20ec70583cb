package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/admin/term"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

func newChat() *cobra.Command {
	var r remote
	var nick string
	cmd := &cobra.Command{
		Use:   "chat [ROOM...]",
		Short: "Talk: one or more rooms at a terminal",
		Long: `Talk in one or more rooms. What you type goes to the current room, whose name is
in the prompt; a line that begins with / is a command, and /help lists them. What
comes while you type stays out of your line. Tab completes commands, rooms and nicks.

When the server goes, the line you are typing stays, and so do you: everything said
meanwhile is shown when it is back, with its number, and what you said is sent then.

Lines that were typed are kept for each server in ~/.roomd_chat_HOST_PORT. Without a
terminal, or on one that cannot move its cursor (TERM=dumb), lines are read and
printed as they come; at the end of the input it leaves once all is sent.
NO_COLOR=1 turns colours off; the bell and the mark of a mention stay.`,
		Example: `  roomd chat
  roomd chat lobby dev --nick ann
  roomd chat lobby --server chat.example.org:8080 --tls
  printf 'hello\n' | roomd chat lobby`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.dial(cmd.Context())
			if err != nil {
				return err
			}
			ch := &chat{server: c, password: r.password, nick: nick, look: newLook(cmd.OutOrStdout())}
			if nick == "" {
				ch.nick = cmp.Or(os.Getenv(nickVar), login())
			}
			ch.editor, err = term.New(term.Options{
				In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), Prompt: "> ", History: chatHistory(c.Addr()), Complete: ch.complete, Erase: true,
				Indent: len("15:04 "),
			})
			if err != nil {
				return err
			}
			defer ch.editor.Close()
			return ch.run(cmd.Context(), args, terminal(cmd.InOrStdin()), term.Editable(cmd.InOrStdin(), cmd.OutOrStdout()))
		},
	}
	r.flags(cmd, true)
	cmd.ValidArgsFunction = r.rooms(0)
	cmd.Flags().StringVar(&nick, "nick", "", "your `NAME` in the rooms; default: "+nickVar+", else your login")
	return cmd
}

// chatHistory is the file with the lines typed for a server.
func chatHistory(addr string) string {
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
	look     look
	ctx      context.Context
	tasks    sync.WaitGroup

	// Owned by the goroutine that reads.
	leaving bool // was warned that lines are on their way

	mu      sync.Mutex
	nick    string // for the next room
	rooms   []*place
	opening int    // rooms that it begins with, while it joins them
	current *place // nil: in no room
	day     string // of the last line printed
	listed  []client.Info
	asked   time.Time // when they were
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
	defer c.leaveAll()
	defer cancel()

	if interactive {
		c.say("connected to %s; /help lists the commands, /quit leaves", c.server.Addr())
	}
	opening := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.opening = n
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
				return c.finish()
			}
			return nil
		}
		if c.typed(line, interactive) {
			return nil
		}
	}
}

// task runs beside the person.
func (c *chat) task(do func()) {
	c.tasks.Go(func() {
		defer term.Guard()
		do()
	})
}

// typed carries out a line and reports whether the person leaves.
func (c *chat) typed(line string, interactive bool) (leave bool) {
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
		c.editor.Remember(line)
	}
	if words[0] == "/quit" || words[0] == "/exit" {
		if n := c.underWay(); n > 0 && !c.leaving && interactive {
			c.leaving = true
			c.say("%s on the way; /quit once more leaves without them", countLines(n))
			return false
		}
		return true
	}
	c.leaving = false
	text, command := strings.CutPrefix(line, "/")
	if command && !strings.HasPrefix(text, "/") {
		c.command(words[0][1:], strings.TrimSpace(strings.TrimPrefix(line, words[0])), interactive)
	} else if p := c.here(); p != nil {
		p.send(client.Message, text)
	}
	return false
}

// paste sends pasted lines as they are.
func (c *chat) paste(lines []string) {
	const many = 10
	p := c.here()
	if p == nil {
		return
	}
	if len(lines) > many && !c.agree(fmt.Sprintf("send %d lines to %s?", len(lines), p.name)) {
		c.say("nothing was sent")
		return
	}
	for _, l := range lines {
		p.send(client.Message, l)
	}
}

// agree asks a question.
func (c *chat) agree(question string) bool {
	answer, err := c.editor.Ask(question + " [y/N] ")
	c.prompt()
	return err == nil && admin.Agreed(answer)
}

// here is the current room, or nil, and then it says so.
func (c *chat) here() *place {
	c.mu.Lock()
	p := c.current
	c.mu.Unlock()
	if p == nil {
		c.say("you are in no room: /join ROOM, /rooms lists them")
	}
	return p
}

// join joins a room, or goes to it if that was done before.
func (c *chat) join(name, password string, interactive bool) error {
	if p := c.find(name); p != nil {
		c.goTo(p)
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	c.mu.Lock()
	wanted := c.nick
	c.mu.Unlock()
	nick := wanted
	var room *client.Room
	var err error
	for n := 2; ; n++ {
		room, err = c.server.Join(ctx, name, client.JoinOptions{Nick: nick, Password: password, From: client.Newest(20)})
		var refusal *client.Error
		if !errors.As(err, &refusal) {
			break
		}
		if refusal.Code == "no-room" && interactive && c.agree(fmt.Sprintf("there is no room %s; make it?", harmless(name))) {
			if err := c.create(name, password); err != nil {
				return err
			}
			continue
		}
		if refusal.Code != "exists" || n > 9 {
			break
		}
		nick = fmt.Sprintf("%s-%d", wanted, n)
	}
	if err != nil {
		return says(err)
	}
	p := newPlace(c, room)
	c.mu.Lock()
	c.rooms = append(c.rooms, p)
	c.mu.Unlock()
	if nick != wanted {
		c.say("somebody is called %s in %s; you are %s there, /nick changes it", harmless(wanted), p.name, harmless(nick))
	}
	c.goTo(p)
	c.task(p.listen)
	c.task(p.speak)
	return nil
}

// create makes a room and shows its key.
func (c *chat) create(name, password string) error {
	made, err := c.server.Create(c.ctx, name, password)
	if err != nil {
		return says(err)
	}
	c.say("%s is there, on port %d; its delete key, shown only now: %s", harmless(made.Name), made.Port, harmless(made.Key))
	return nil
}

// find is a room that was joined; nil: none of that name.
func (c *chat) find(name string) *place {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.rooms, func(p *place) bool { return wire.Fold(p.name) == wire.Fold(name) })
	if i < 0 {
		return nil
	}
	return c.rooms[i]
}

// goTo makes a room the current one.
func (c *chat) goTo(p *place) {
	c.mu.Lock()
	c.current = p
	c.mu.Unlock()
	c.prompt()
}

// forget takes a room off the list.
func (c *chat) forget(p *place) {
	c.mu.Lock()
	c.rooms = slices.DeleteFunc(c.rooms, func(o *place) bool { return o == p })
	if c.current == p {
		c.current = nil
		if len(c.rooms) > 0 {
			c.current = c.rooms[len(c.rooms)-1]
		}
	}
	c.mu.Unlock()
	c.prompt()
}

// prompt shows where we are, and what is on its way.
func (c *chat) prompt() {
	c.mu.Lock()
	p := c.current
	c.mu.Unlock()
	if p == nil {
		c.editor.SetPrompt("> ")
		return
	}
	c.editor.SetPrompt(p.prompt())
}

// leaveAll leaves all rooms.
func (c *chat) leaveAll() {
	c.mu.Lock()
	rooms := slices.Clone(c.rooms)
	c.mu.Unlock()
	for _, p := range rooms {
		p.room.Close()
	}
}

// underWay is how many lines are not in their rooms yet.
func (c *chat) underWay() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.rooms {
		n += p.underWay()
	}
	return n
}

// finish waits until all lines are in their rooms, for who is not a person.
func (c *chat) finish() error {
	c.mu.Lock()
	rooms := slices.Clone(c.rooms)
	c.mu.Unlock()
	lost := 0
	for _, p := range rooms {
		lost += p.drain(c.ctx)
	}
	if lost > 0 {
		return fmt.Errorf("%s not sent", countLines(lost))
	}
	return nil
}

func countLines(n int) string {
	if n == 1 {
		return "1 line is"
	}
	return fmt.Sprintf("%d lines are", n)
}

// say prints what the chat itself has to say.
func (c *chat) say(format string, args ...any) {
	c.editor.Print(c.look.ours(fmt.Sprintf(format, args...)))
}

// show prints an event's line, with a line for the day before it if it is
// another one.
func (c *chat) show(at time.Time, line string) {
	c.mu.Lock()
	day := at.Local().Format("Monday, 2 January 2006")
	if day != c.day && !(c.day == "" && day == time.Now().Format("Monday, 2 January 2006")) {
		line = c.look.ours(day) + "\n" + line
	}
	c.day = day
	c.mu.Unlock()
	c.editor.Print(line)
}
