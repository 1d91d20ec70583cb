package admin

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"roomd/admin/term"
)

// Exit statuses of roomd admin COMMAND.
const (
	ExitDone        = 0
	ExitRefused     = 1
	ExitUsage       = 2
	ExitUnreachable = 3
)

// HealthTimeout is how long a server may take to answer a probe.
const HealthTimeout = 4 * time.Second

// request sends a line over a new connection and calls each with every line of the answer. It
// ends early when ctx is done.
func request(ctx context.Context, path, line string, each func(string)) (verdict, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return verdict{}, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	// The server may have closed the connection of a refused client already. The reason can
	// still be read.
	_, unsent := io.WriteString(c, strings.ReplaceAll(line, "\n", " ")+"\n")
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		l, err := in.ReadString('\n')
		if err != nil {
			return verdict{}, cmp.Or(ctx.Err(), unsent, err)
		}
		l = strings.TrimSuffix(l, "\n")
		if text, ok := strings.CutPrefix(l, " "); ok {
			each(text)
			continue
		}
		var a verdict
		a.word, a.text, _ = strings.Cut(l, " ")
		if a.word != "OK" {
			a.code, a.text, _ = strings.Cut(a.text, " ")
		}
		return a, nil
	}
}

// Complete returns the words that a shell can complete last to, after the given words. It
// returns none if the server does not answer.
func Complete(ctx context.Context, path string, words []string, last string) (all []string) {
	if len(words) == 0 { // the commands are known without a server
		for i := range table {
			if c := &table[i]; !c.console && strings.HasPrefix(c.name, strings.ToLower(last)) {
				all = append(all, c.name)
			}
		}
		slices.Sort(all)
		return all
	}
	return completions(ctx, path, Join(words)+" "+last)
}

// completions asks the server for the words that can end a line. It returns none if the server
// does not answer.
func completions(ctx context.Context, path, line string) (all []string) {
	a, err := request(ctx, path, "complete "+Join([]string{line}), func(w string) { all = append(all, w) })
	if err != nil || a.word != "OK" {
		return nil
	}
	return all
}

// Verdict is the end of an answer; the comment of the package lists the words.
type Verdict struct {
	Word string `json:"verdict"` // OK, ERR, ASK or SECRET
	Code string `json:"code"`    // of ERR; the token of ASK
	Text string `json:"text"`
}

// Effect is the effect that a command can have.
type Effect struct {
	Changes bool // the audit records it
	Stream  bool // it runs until the client ends it
}

// Inspect returns the effect of a line without a server. An error says how the command is used.
func Inspect(line string) (Effect, error) {
	cmd, args, flags, err := parse(line)
	if err != nil {
		return Effect{}, err
	}
	_, remove := flags["remove"]
	shows := cmd.getOrSet && len(args) < len(cmd.args) || cmd.name == setCommand.name && len(args) < 2 && !remove
	return Effect{cmd.changes && !shows, cmd.stream}, nil
}

// A Page gives commands for the operator's page; the audit says that they came from there. Its
// methods may be called from any goroutine: each call is a connection of its own.
type Page struct {
	Socket string // the admin socket
}

// Run gives a command and calls each with every line of the answer. token agrees to a question,
// secret is the secret that the server has asked for; both may be empty. An error means that the
// server cannot be reached, or has ended before the verdict.
func (p Page) Run(ctx context.Context, line, token, secret string, each func(string)) (Verdict, error) {
	line = p.mark(line)
	if token != "" {
		line = withToken(line, token)
	}
	if secret != "" {
		line = withSecret(line, secret)
	}
	a, err := runCommand(ctx, p.Socket, line, each)
	return Verdict{a.word, a.code, a.text}, err
}

// Follow runs a stream until ctx is done or the server has ended, and calls each with every line.
func (p Page) Follow(ctx context.Context, line string, each func(string)) (Verdict, error) {
	a, err := request(ctx, p.Socket, p.mark(line), each)
	return Verdict{a.word, a.code, a.text}, err
}

// mark returns the line as one that the page sends.
func (p Page) mark(line string) string {
	return "--" + pageFlag + " " + strings.NewReplacer("\n", " ", "\r", " ").Replace(line)
}

// reconnectTimeout bounds the time that a stream waits for a server that has ended.
const reconnectTimeout = 10 * time.Second

// requestStream is request for a stream. When the server was upgraded or started again, it
// continues there, and tells note that events may be missing.
func requestStream(ctx context.Context, path, line string, each, note func(string)) (verdict, error) {
	for {
		a, err := request(ctx, path, line, each)
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) || !waitForServer(ctx, path) {
			return a, err
		}
		note("(connected again; events in between are not shown)")
	}
}

// waitForServer waits until a server listens on the socket, and reports whether one does.
func waitForServer(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, reconnectTimeout)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return false
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return true
		}
	}
}

// hasColors reports whether output to a stream can have colours: it is a terminal that has
// them, and NO_COLOR is not set (https://no-color.org).
func hasColors(out io.Writer) bool {
	return term.IsTerminal(out) && os.Getenv("NO_COLOR") == "" && !term.IsDumb() && os.Getenv("TERM") != ""
}

// withColor asks for an answer with colours.
func withColor(line string) string { return "--" + colorFlag + " " + line }

// indent is the indentation of the second and later rows of a long line.
const indent = 4

// withToken returns the line with the token of a question that the operator has agreed to.
func withToken(line, token string) string { return "--" + tokenFlag.name + "=" + token + " " + line }

// withSecret returns the line with a secret.
func withSecret(line, secret string) string {
	return secretFlag + base64.RawURLEncoding.EncodeToString([]byte(secret)) + " " + line
}

// asker answers the questions of the server.
type asker struct {
	agrees func(question string) bool // nil: a question is a refusal
	secret func(prompt string) (string, error)
}

// converse sends a line, and sends it again with the answers that the server asks for.
// errDeclined means that the person did not agree or gave no secret.
func (p asker) converse(ctx context.Context, path, line string, show func(string)) (verdict, error) {
	a, err := runCommand(ctx, path, line, show)
	if err == nil && a.word == "ASK" && p.agrees != nil {
		if !p.agrees(a.text) {
			return a, errDeclined
		}
		a, err = request(ctx, path, withToken(line, a.code), show)
	}
	if err == nil && a.word == "SECRET" {
		secret, wrong := p.secret(a.text)
		if wrong != nil || secret == "" {
			return a, fmt.Errorf("%w: %s", errDeclined, secretError(wrong))
		}
		a, err = request(ctx, path, withSecret(line, secret), show)
	}
	return a, err
}

var errDeclined = errors.New("nothing was done")

// askTwice asks a person for a new secret twice, because typing errors cannot be seen.
func askTwice(ask func(question string) (string, error), what string) (string, error) {
	first, err := ask(what + ": ")
	if err != nil {
		return "", err
	}
	again, err := ask("repeat it: ")
	if err == nil && again != first {
		err = errors.New("the two passwords differ")
	}
	return first, err
}

// secretError says why there is no secret.
func secretError(err error) string {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, term.ErrInterrupt) || errors.Is(err, term.ErrLeave) {
		return "no password was given"
	}
	return err.Error()
}

// UntilSignal returns a context that ends with a signal that ends the process, so that
// half-written files can be removed. Ignored signals stay ignored, as with nohup(1).
func UntilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	signals := slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGHUP}, signal.Ignored)
	return signal.NotifyContext(ctx, append(signals, syscall.SIGTERM)...)
}

// Once carries out one line for a shell and returns the exit status. It passes questions of
// the server to ask; if ask is nil, a question is a refusal, and a secret is the first line of
// in.
//
//	A live table is drawn in place if out is a terminal. Ctrl-C ends it, and is no failure.
func Once(path string, words []string, in io.Reader, out, errw io.Writer, ask func(question string) bool) int {
	line := Join(words)
	cmd, args, flags, wrong := parse(line)
	ctx, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	var unwritten error // the first error of out; it ends a stream
	show := func(l string) {
		if _, err := fmt.Fprintln(out, term.FoldFor(out, l, indent)); err != nil && unwritten == nil {
			if unwritten = err; wrong == nil && cmd.stream {
				giveUp()
			}
		}
	}
	note := func(text string) { fmt.Fprintln(errw, text) }
	if wrong == nil && isTable(cmd, args, flags) {
		note = func(string) {} // a table shows only the present
		if tty, ok := canDraw(out); ok {
			var stop context.CancelFunc
			ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			o := term.NewOutput(tty)
			defer o.Close()
			defer context.AfterFunc(ctx, o.Close)() // nobody may read the terminal
			s := openScreen(tty, o)
			defer s.close()
			show = s.line
		}
	}
	if hasColors(out) {
		line = withColor(line)
	}
	var a verdict
	var err error
	if wrong == nil && cmd.stream {
		a, err = requestStream(ctx, path, line, show, note)
	} else {
		// A signal removes a half-written file.
		work, stop := ctx, context.CancelFunc(func() {})
		switch {
		case wrong != nil:
		case cmd.name == "backup":
			work, stop = UntilSignal(ctx)
		case cmd.name == "health":
			work, stop = context.WithTimeout(ctx, HealthTimeout)
		}
		p := asker{ask, func(prompt string) (string, error) {
			read := func(question string) (string, error) { return term.ReadSecret(in, errw, question) }
			if ask == nil {
				return read("")
			}
			return askTwice(read, prompt)
		}}
		a, err = p.converse(work, path, line, show)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", HealthTimeout)
		}
		stop()
	}
	switch {
	case errors.Is(err, errDeclined):
		fmt.Fprintf(errw, "roomd: %v\n", err)
		return ExitRefused
	case unwritten != nil && (ctx.Err() != nil || err == nil && a.word == "OK"):
		fmt.Fprintf(errw, "roomd: the answer could not be written: %v\n", unwritten)
		return ExitRefused
	case ctx.Err() != nil:
		return ExitDone
	case errors.Is(err, io.EOF) && wrong == nil && cmd.name == "stop":
		fmt.Fprintln(errw, "roomd: the server has ended and did not report how; see its log")
		return ExitRefused
	case err != nil:
		fmt.Fprintf(errw, "roomd: the server cannot be reached at %s: %v\n%s", path, err, hint(err))
		return ExitUnreachable
	case a.word == "OK":
		return ExitDone
	case a.word == "ASK":
		fmt.Fprintf(errw, "roomd: this %s\nRepeat the command with --yes or --token %s to do it.\n", a.text, a.code)
		return ExitUsage
	}
	fmt.Fprintf(errw, "roomd: %s\n", a.text)
	if a.code == "usage" {
		return ExitUsage
	}
	return ExitRefused
}

// hint says how to reach a socket.
func hint(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return "no server has this socket open: start it, or name another socket with --socket FILE\n"
	case errors.Is(err, os.ErrPermission):
		return "only root, the server's user and the members of admin.group may use it\n"
	}
	return ""
}
