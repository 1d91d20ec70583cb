package netsvc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A script is a conversation that is carried out and compared, line by line:
//
//	ann calls                a connection to the master port
//	ann joins lobby          a connection to the room's port
//	ann> hello               ann sends a line
//	ann< <guest-1> hello     the next line that ann gets
//	ann closes               ann sends no more (half-close)
//	ann vanishes             ann resets the connection
//	ann ends                 the server has closed ann's connection
//	restart                  the server is stopped and started again
//	# a remark
//
// {word} in a line that is got stands for any text without a space, and for the
// same text from then on, also in what is sent.
type script struct {
	*server
	peers map[string]*peer
	words map[string]string
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// runScript carries out a script over plain connections, over plain ones that
// are served by goroutines, and over TLS.
//
// All run at once: they wait for a second now and then.
func runScript(t *testing.T, text string) {
	t.Parallel()
	for _, kind := range []string{"loops", "goroutines", "TLS"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.Options.Portable = kind == "goroutines"
			if kind == "TLS" {
				s.secure()
			}
			playScript(t, s, text)
		})
	}
}

func playScript(t *testing.T, on *server, text string) {
	on.Start()
	s := &script{on, make(map[string]*peer), make(map[string]string)}
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
			if !strings.HasPrefix(l, "* ") && !strings.HasPrefix(l, "ERR") && !strings.HasPrefix(l, `{"`) {
				t.Errorf("%s also got %q", name, l)
			}
		}
	}
}

func (s *script) step(line string) error {
	if line == "restart" {
		s.Stop()
		s.Start()
		return nil
	}
	if who, text, ok := cutAny(line, "> ", ">"); ok {
		s.peers[who].Send(s.fill(text))
		return nil
	}
	if who, want, ok := cutAny(line, "< ", "<"); ok {
		got, err := s.peers[who].Next()
		if err != nil {
			return fmt.Errorf("reading: %v", err)
		}
		return s.compare(got, want)
	}
	who, verb, _ := strings.Cut(line, " ")
	verb, room, _ := strings.Cut(verb, " ")
	switch verb {
	case "calls":
		s.peers[who] = s.dial(s.Service.Port())
	case "joins":
		for _, i := range s.Service.List() {
			if i.Name == room {
				s.peers[who] = s.dial(i.Port)
				return nil
			}
		}
		return fmt.Errorf("there is no room %s", room)
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
		return fmt.Errorf("not a step")
	}
	return nil
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

func (s *script) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(w string) string {
		if v, ok := s.words[w]; ok {
			return v
		}
		return w
	})
}

func (s *script) compare(got, want string) error {
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

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { runScript(t, string(text)) })
	}
}

// The conversations in the protocol page are carried out as they stand.
func TestProtocolPage(t *testing.T) {
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	scripts := regexp.MustCompile("(?s)```script\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(scripts) == 0 {
		t.Fatal("the page has no conversation")
	}
	for i, m := range scripts {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) { runScript(t, m[1]) })
	}
}
