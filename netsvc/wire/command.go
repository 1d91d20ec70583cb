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

	withID // ParseCommand returns the Action of the line behind the ID
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
	ID   string // of Say, Me, SendNotice and SetTopic: the sender's identifier of the line; "": none
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
	{withID, "id", "id line", "say a line once, however often it comes", "an ID of up to 64 letters, digits and . _ : -, and a text, /me, /notice or /topic with a text", "build-17 all is green"},
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
		if known.do == withID {
			text = strings.TrimLeftFunc(body[len(word):], unicode.IsSpace) // the line is kept as it is
		}
		if c.parse(text) {
			return c, nil
		}
		takes := known.expects
		if known.do == Since && isDigits(text) {
			takes = fmt.Sprintf("a sequence number up to %d", uint64(math.MaxUint64))
		}
		return Command{Name: word, N: -1, ID: c.ID}, Errorf(CodeBadRequest, "/%s takes %s: %s",
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
	case withID:
		id, line, _ := strings.Cut(text, " ")
		if !IsID(id) {
			return false
		}
		c.ID = id
		if IsBlank([]byte(line)) {
			return false
		}
		said, err := ParseCommand(line)
		c.Do, c.Text = said.Do, said.Text
		return err == nil && said.ID == "" && said.isLine()
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

// isLine reports whether the command is a line of the room.
func (c *Command) isLine() bool {
	return c.Do == Say || c.Do == Me || c.Do == SendNotice || c.Do == SetTopic && c.Text != ""
}

const (
	// MaxIDBytes bounds the ID of a line.
	MaxIDBytes = 64
	// uniqueLetters is the number of letters and digits from which an ID is unique: random ones
	// of 128 bits have so many (a ULID 26, a UUID 32), and times and counters have fewer.
	uniqueLetters = 26
)

// IsID reports whether an ID of a line is well-formed: 1 to MaxIDBytes letters and digits of ASCII, and
// ".", "_", ":" and "-".
func IsID(id string) bool {
	for i := range len(id) {
		if b := id[i]; !isLetterOrDigit(b) && b != '.' && b != '_' && b != ':' && b != '-' {
			return false
		}
	}
	return id != "" && len(id) <= MaxIDBytes
}

// IsUniqueID reports whether an ID has at least 26 letters and digits: then nobody else has it, unless
// somebody wants to.
func IsUniqueID(id string) bool {
	n := 0
	for i := range len(id) {
		if isLetterOrDigit(id[i]) {
			n++
		}
	}
	return n >= uniqueLetters
}

func isLetterOrDigit(b byte) bool {
	return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z'
}

// HasID reports whether a line is a message or an action with an ID, as ParseCommand would tell.
func HasID(line []byte) bool {
	if len(line) < 4 || line[0] != '/' || line[1]|0x20 != 'i' || line[2]|0x20 != 'd' {
		return false
	}
	c, err := ParseCommand(string(line))
	return err == nil && c.ID != ""
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
