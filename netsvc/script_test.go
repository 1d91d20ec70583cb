package netsvc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roomd/netsvc/netsvctest"
)

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
	s := netsvctest.Script{
		Call: func(verb, room string) (*netsvctest.Client, error) {
			if verb == "calls" {
				return on.dial(on.Service.Port()).Client, nil
			}
			for _, i := range on.Service.List() {
				if verb == "joins" && i.Name == room {
					return on.dial(i.Port).Client, nil
				}
			}
			return nil, fmt.Errorf("%s is not a step, or there is no room %s", verb, room)
		},
		Restart: func() {
			on.Stop()
			on.Start()
		},
		Ignores: func(l string) bool {
			return strings.HasPrefix(l, "* ") || strings.HasPrefix(l, "ERR") || strings.HasPrefix(l, `{"`)
		},
	}
	s.Play(t, text)
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
	scripts := netsvctest.Conversations(page)
	if len(scripts) == 0 {
		t.Fatal("the page has no conversation")
	}
	for i, text := range scripts {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) { runScript(t, text) })
	}
}
