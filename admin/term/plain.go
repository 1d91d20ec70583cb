package term

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/chzyer/readline"
)

// plainEditor reads lines without editing: from a pipe, from a terminal that cannot move its
// cursor, or if the output is not a terminal.
type plainEditor struct {
	stdin       *readline.CancelableStdin
	in          *bufio.Reader
	started     bool // the first line has been read
	display     *display
	ask         func(question string)
	disableEcho func() (show func()) // of the input
	closed      atomic.Bool
}

func newPlain(o Options) *plainEditor {
	stdin := readline.NewCancelableStdin(o.In)
	p := &plainEditor{stdin: stdin, in: bufio.NewReader(stdin)}
	out, ok := o.Out.(*os.File)
	there := ok && IsTerminal(out)
	if there {
		p.display = newDisplay(o.Out, sizeOf(out), o.Indent, false)
	} else {
		p.display = newDisplay(o.Out, nil, -1, false)
	}
	p.ask = p.Print
	p.disableEcho = func() func() { return disableEcho(o.In) }
	if in, ok := o.In.(*os.File); ok && IsTerminal(in) && !there {
		// The person does not see the output.
		p.ask = func(question string) { os.Stderr.WriteString(question + "\n") }
	}
	return p
}

func (p *plainEditor) ReadLine() (string, error) {
	line, err := p.in.ReadString('\n')
	if !p.started {
		p.started = true
		line = strings.TrimPrefix(line, "\ufeff") // a byte order mark is not part of the line
	}
	switch {
	case p.closed.Load():
		return "", io.EOF
	case errors.Is(err, io.EOF) && line != "":
		err = nil // the last line may lack its end
	}
	return strings.TrimRight(line, "\r\n"), err
}

func (p *plainEditor) Ask(question string) (string, error) {
	p.ask(question)
	return p.ReadLine()
}

func (p *plainEditor) AskSecret(question string) (string, error) {
	defer p.disableEcho()()
	return p.Ask(question)
}

// Print waits until the text is written, because the process may end right after.
func (p *plainEditor) Print(text string) { p.display.write(item{text, false}, true) }

func (p *plainEditor) Write(b []byte) (int, error) {
	p.display.write(item{string(b), true}, true)
	return len(b), nil
}

func (p *plainEditor) SetPrompt(string)  {}
func (p *plainEditor) AddHistory(string) {}
func (p *plainEditor) History() []string { return nil }

func (p *plainEditor) Close() {
	if !p.closed.Swap(true) {
		p.stdin.Close()
	}
	p.display.close()
}
