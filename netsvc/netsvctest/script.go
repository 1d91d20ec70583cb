package netsvctest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// Script carries out conversations, line by line:
//
//	ann calls                a connection that Call makes: its verb is calls,
//	ann joins lobby          joins, with the room, or one of the caller's own
//	ann> hello               ann sends a line
//	ann< <guest-1> hello     the next line that ann gets
//	ann< …                   lines up to the next one that is shown
//	ann closes               ann sends no more (half-close)
//	ann vanishes             ann resets the connection
//	ann ends                 the server has closed ann's connection
//	restart                  the server is stopped and started again
//	# a remark
//
// {word} in a line that is got stands for any text without a space, and for the
// same text from then on, also in what is sent.
type Script struct {
	Call    func(verb, room string) (*Client, error)
	Restart func()
	CRLF    bool                   // lines that are got end with CR LF
	Ignores func(line string) bool // of the lines that come after the conversation

	peers map[string]*Client
	skips map[string]bool // peers that are to get further lines first
	words map[string]string
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// Play carries out a conversation.
func (s *Script) Play(t testing.TB, text string) {
	t.Helper()
	s.peers, s.skips, s.words = make(map[string]*Client), make(map[string]bool), make(map[string]string)
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " ")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.step(line); err != nil {
			t.Fatalf("line %d: %s\n%v", i+1, line, err)
		}
	}
	for name, p := range s.peers {
		p.HalfClose()
		for {
			l, err := p.Next()
			if err != nil {
				break
			}
			if !s.Ignores(l) {
				t.Errorf("%s also got %q", name, l)
			}
		}
	}
}

func (s *Script) step(line string) error {
	if line == "restart" {
		s.Restart()
		return nil
	}
	if who, text, ok := cutAny(line, "> ", ">"); ok {
		s.peers[who].Send(s.fill(text))
		return nil
	}
	if who, want, ok := cutAny(line, "< ", "<"); ok {
		return s.get(who, want)
	}
	who, verb, _ := strings.Cut(line, " ")
	verb, room, _ := strings.Cut(verb, " ")
	switch verb {
	case "closes":
		s.peers[who].HalfClose()
	case "vanishes":
		s.peers[who].Reset()
		delete(s.peers, who)
	case "ends":
		l, err := s.peers[who].Next()
		if err == nil {
			return fmt.Errorf("the connection goes on with %q", l)
		}
		s.peers[who].Conn.Close()
		delete(s.peers, who)
	default:
		c, err := s.Call(verb, room)
		s.peers[who] = c
		return err
	}
	return nil
}

// get reads a line, or lines up to one.
func (s *Script) get(who, want string) error {
	if want == "…" {
		s.skips[who] = true
		return nil
	}
	for {
		got, err := s.peers[who].Next()
		if err != nil {
			return fmt.Errorf("reading: %v", err)
		}
		if s.CRLF {
			got = strings.TrimSuffix(got, "\r")
		}
		if err = s.compare(got, want); err == nil || !s.skips[who] {
			s.skips[who] = false
			return err
		}
	}
}

// cutAny splits "ann> text"; the name comes first and has no space.
func cutAny(line string, seps ...string) (who, text string, ok bool) {
	for _, sep := range seps {
		who, text, ok = strings.Cut(line+" ", sep)
		if ok && !strings.Contains(who, " ") {
			return who, strings.TrimSuffix(text, " "), true
		}
	}
	return "", "", false
}

func (s *Script) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(w string) string {
		if v, ok := s.words[w]; ok {
			return v
		}
		return w
	})
}

func (s *Script) compare(got, want string) error {
	var names []string
	pattern := regexp.QuoteMeta(want)
	for _, w := range placeholder.FindAllString(want, -1) {
		if v, ok := s.words[w]; ok {
			pattern = strings.Replace(pattern, regexp.QuoteMeta(w), regexp.QuoteMeta(v), 1)
		} else {
			names = append(names, w)
			pattern = strings.Replace(pattern, regexp.QuoteMeta(w), `([^ "]+)`, 1)
		}
	}
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(got)
	if found == nil {
		return fmt.Errorf("got: %q", got)
	}
	for i, w := range names {
		s.words[w] = found[i+1]
	}
	return nil
}

// Conversations returns the blocks of a page of Markdown that begin with ```script.
func Conversations(page []byte) (all []string) {
	for _, m := range regexp.MustCompile("(?s)```script\n(.*?)```").FindAllSubmatch(page, -1) {
		all = append(all, string(m[1]))
	}
	return all
}
