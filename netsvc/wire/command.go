package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// Action is what a member's line asks for.
type Action int

const (
	_   Action = iota // the Command came with an error
	Say               // send a message
	Nick
	Who
	Me
	SendNotice
	SetTopic // without a text: show it
	Msg
	History
	Before
	Since
	Search
	JSON
	Ping
	Echo
	Raw
	Pass
	Help
	Quit
)

// Command is a line of a member.
type Command struct {
	Do   Action
	Name string // the command's word without the slash, lower case, 32 characters at most; "say" for a message
	Text string // of Say, Me, SendNotice, SetTopic, Msg and Search; the new nick, unchecked; the password of Pass
	To   string // the recipient of Msg, unchecked
	N    int    // the number of lines of History and Before, 1 to math.MaxInt32; -1: none was given
	Seq  uint64 // Since asks for the lines after it, Before for those before it
	On   bool   // of Echo
}

// command is a row of the table from which commands are parsed and /help is made.
type command struct {
	do               Action
	name, args, help string
	expects, example string // for the error about wrong arguments
}

// commands are in the order of /help.
var commands = []command{
	{Nick, "nick", "name", "take another name", "one name", "ann"},
	{Who, "who", "", "list the members", "nothing", ""},
	{Me, "me", "text", "say what you do", "a text", "waves"},
	{SendNotice, "notice", "text", "say what no program answers, for bots", "a text", "the build is green"},
	{SetTopic, "topic", "[text]", "show or set the topic", "a text or nothing", "lunch"},
	{Msg, "msg", "nick text", "tell one member, not stored", "a nick and a text", "bob psst"},
	{History, "history", "[n]", "the newest n lines again", "a number of lines, at least 1, or nothing", "50"},
	{Before, "before", "seq [n]", "n lines before that sequence number", "a sequence number, and a number of lines or nothing", "812 50"},
	{Since, "since", "seq", "everything after that sequence number", "one sequence number", "812"},
	{Search, "search", "text", "the newest 50 lines with that text or sender", "a text", "lunch"},
	{Ping, "ping", "", "answers the newest sequence number", "nothing", ""},
	{JSON, "json", "", "from now on JSON, one object a line", "nothing", ""},
	{Echo, "echo", "on|off", "show you your own lines, or not", "on or off", "off"},
	{Raw, "raw", "", "from now on every line is text", "nothing", ""},
	{Pass, "pass", "secret", "the room's password", "one word, the password", "secret"},
	{Help, "help", "", "these lines", "nothing", ""},
	{Quit, "quit", "", "leave", "nothing", ""},
}

// ParseCommand parses a member's line, which is cleaned and not blank. A message is kept as
// it is; the arguments of a command are trimmed. The error is an *Error of CodeBadRequest:
// the command is unknown, or its arguments are wrong. Name is the typed word also then.
func ParseCommand(line string) (Command, error) {
	body, ok := strings.CutPrefix(line, "/")
	if !ok || strings.HasPrefix(body, "/") {
		return Command{Do: Say, Name: "say", Text: body}, nil
	}
	word, text := cutSpace(body)
	word = lowerASCII(word)
	for _, known := range commands {
		if known.name != word {
			continue
		}
		c := Command{Do: known.do, Name: word, N: -1}
		if c.parse(text) {
			return c, nil
		}
		takes := known.expects
		if known.do == Since && isDigits(text) {
			takes = fmt.Sprintf("a sequence number up to %d", uint64(math.MaxUint64))
		}
		return Command{Name: word, N: -1}, Errorf(CodeBadRequest, "/%s takes %s: %s",
			word, takes, usage("/"+word, known.example))
	}
	c := Command{Name: truncateWord(word), N: -1}
	if word == "" {
		return c, Errorf(CodeBadRequest, "a command's name follows the / at once; /help lists them; // sends a / as text")
	}
	return c, Errorf(CodeBadRequest, "there is no /%s here; /help lists the commands; //%s sends it as text", c.Name, c.Name)
}

// parse parses the arguments of a command, and reports whether the command takes them.
func (c *Command) parse(text string) bool {
	switch c.Do {
	case SetTopic:
		if !IsBlank([]byte(text)) {
			c.Text = text
		}
	case Me, SendNotice, Search:
		c.Text = text
		return !IsBlank([]byte(text))
	case Nick, Pass:
		c.Text = text
		return text != "" && !strings.ContainsFunc(text, unicode.IsSpace)
	case Msg:
		c.To, c.Text = cutSpace(text)
		return !IsBlank([]byte(c.Text))
	case History:
		return text == "" || c.parseLines(text)
	case Before:
		seq, lines := cutSpace(text)
		n, err := strconv.ParseUint(seq, 10, 64)
		c.Seq = n
		return err == nil && n > 0 && (lines == "" || c.parseLines(lines))
	case Since:
		n, err := strconv.ParseUint(text, 10, 64)
		c.Seq = n
		return err == nil
	case Echo:
		text = lowerASCII(text)
		c.On = text == "on"
		return c.On || text == "off"
	default:
		return text == ""
	}
	return true
}

// parseLines parses a number of lines. Beyond 64 bits it is the largest number: more lines than
// there are.
func (c *Command) parseLines(text string) bool {
	n, _ := strconv.ParseUint(text, 10, 64)
	c.N = int(min(n, math.MaxInt32))
	return n > 0 && isDigits(text)
}

// cutSpace splits a text at its first white space, and trims the second part.
func cutSpace(s string) (word, rest string) {
	i := strings.IndexFunc(s, unicode.IsSpace)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}

// CommandHelp is what /help answers, without the "* " before each line.
func CommandHelp() []string {
	lines := []string{"a line is a message to all; a line that begins with / is a command:"}
	for _, c := range commands {
		lines = append(lines, fmt.Sprintf("  %-15s  %s", usage("/"+c.name, c.args), c.help))
	}
	return append(lines, fmt.Sprintf("  %-15s  %s", "//text", "say /text"))
}
