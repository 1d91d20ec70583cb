package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"roomd/admin"
)

// maxAnswer bounds the answer to a command in bytes.
const maxAnswer = 8 << 20

// answer is the answer to a command: its output and its verdict.
type answer struct {
	admin.Verdict
	Lines []string `json:"lines"`
}

// run carries out a command.
func (p *Page) run(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Line   string `json:"line"`
		Token  string `json:"token"`  // of the question that the operator has agreed to
		Secret string `json:"secret"` // that the server has asked for
	}
	if !readJSON(w, r, &req) {
		return
	}
	refuse := func(status int, code, text string) {
		sendJSON(w, status, answer{admin.Verdict{Word: "ERR", Code: code, Text: text}, []string{}})
	}
	effect, err := admin.Inspect(req.Line)
	switch {
	case p.opts.ReadOnly && err != nil: // also a command that only a newer server has
		refuse(http.StatusForbidden, "usage", err.Error())
		return
	case p.opts.ReadOnly && effect.Changes:
		refuse(http.StatusForbidden, "read-only", "nothing was done: roomd admin web was started with --read-only")
		return
	case effect.Stream:
		refuse(http.StatusOK, "stream", "the command runs until it is ended; watch it")
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	a, size := answer{Lines: []string{}}, 0
	a.Verdict, err = p.commands.Run(ctx, req.Line, req.Token, req.Secret, func(l string) {
		if size += len(l) + 1; size > maxAnswer {
			cancel(errTooLong)
			return
		}
		a.Lines = append(a.Lines, l)
	})
	switch {
	case errors.Is(context.Cause(ctx), errTooLong):
		refuse(http.StatusOK, "too-long", errTooLong.Error())
	case err != nil:
		refuse(http.StatusBadGateway, "unreachable", fmt.Sprintf("the server cannot be reached: %v", err))
	default:
		sendJSON(w, http.StatusOK, a)
	}
}

var errTooLong = fmt.Errorf("the answer is longer than %d MiB; ask for less, or use roomd admin COMMAND", maxAnswer>>20)

// writeTimeout bounds the time that a browser takes no bytes of a stream.
const writeTimeout = 10 * time.Second

// stream sends messages as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type stream struct {
	w    http.ResponseWriter
	ctrl *http.ResponseController
}

func newStream(w http.ResponseWriter) *stream {
	s := &stream{w, http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	s.ctrl.Flush() // the first value may be long in coming
	return s
}

// send sends a value. JSON has no line ends, so that it is one line.
func (s *stream) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.ctrl.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.w, "data: %s\n\n", b); err != nil {
		return err
	}
	return s.ctrl.Flush()
}

// live sends the values of the feed to a browser.
func (p *Page) live(w http.ResponseWriter, r *http.Request) {
	b, first := p.feed.enter()
	if b == nil {
		http.Error(w, "the page has ended", http.StatusServiceUnavailable)
		return
	}
	defer p.feed.leave(b)
	s := newStream(w)
	messages := append([]message{{Kind: "hello", Hello: &hello{p.user, p.opts.Socket, p.opts.ReadOnly}}}, first...)
	for _, m := range messages {
		if s.send(m) != nil {
			return
		}
	}
	for {
		var err error
		select {
		case m := <-b.messages:
			err = s.send(m)
		case <-time.After(writeTimeout): // a browser that has gone is noticed
			err = s.send(message{Kind: "alive"})
		case <-p.feed.ended:
			s.send(p.feed.lastMessage())
			return
		case <-r.Context().Done():
			return
		}
		if n := b.missed.Swap(0); n > 0 && err == nil {
			err = s.send(message{Kind: "missed", Missed: n})
		}
		if err != nil {
			return
		}
	}
}

// watch sends the lines of a stream until the browser ends it.
func (p *Page) watch(w http.ResponseWriter, r *http.Request) {
	line := r.URL.Query().Get("line")
	if effect, err := admin.Inspect(line); err != nil || !effect.Stream {
		http.Error(w, "only watch and top are streams", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-p.feed.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	s := newStream(w)
	for {
		v, err := p.commands.Follow(ctx, line, func(l string) {
			if s.send(map[string]string{"line": l}) != nil {
				cancel()
			}
		})
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			s.send(v)
			return
		}
		if s.send(map[string]string{"note": "the server has gone; what happens meanwhile is not shown"}) != nil || !sleep(ctx, time.Second) {
			return
		}
	}
}
