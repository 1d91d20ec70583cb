package chat

import (
	"os"
	"strings"
	"testing"

	"roomd/netsvc/client"
)

// A server that means harm cannot get at the terminal.
func TestChatShowsNothingRaw(t *testing.T) {
	bad := "\x1b[2J\u009b31m\u202e\x07\r"
	for _, ev := range []client.Event{
		{Type: client.Message}, {Type: client.Action}, {Type: client.Topic}, {Type: client.Private}, {Type: client.Join},
		{Type: client.Leave}, {Type: client.Nick}, {Type: client.Notice}, {Type: client.Deleted}, {Type: "new\x1b"},
	} {
		ev.From, ev.To, ev.Nick, ev.Text, ev.Seq = bad, bad, bad, bad+"ann"+bad, 1
		if line, _ := (style{}).event(ev, "ann"); strings.ContainsAny(line, "\x1b\u009b\u202e\x07\r") {
			t.Errorf("%s: %q", ev.Type, line)
		}
	}
}

func TestMentions(t *testing.T) {
	for text, want := range map[string]bool{
		"ann": true, "Ann: lunch?": true, "(ann)": true, "hi, ANN!": true, "annual plan": false, "joann": false, "anna and ann": true,
		"an n": false, "": false, "ann_": false, "ännann": false,
	} {
		if mentions(text, "ann") != want {
			t.Error(text)
		}
	}
	if mentions("anything", "") {
		t.Error("nobody")
	}
}

func TestMentionsAreFolded(t *testing.T) {
	for text, want := range map[string]bool{"hi Zoë!": true, "hi zoe\u0308": true, "ＺＯË?": true, "zoës": false, "zoe": false} {
		if got := mentions(text, "Zoë"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// The page has every command.
func TestClientPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/client.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range commands() {
		if usage := strings.TrimSpace("/" + k.name + " " + k.args); !strings.Contains(string(page), "`"+usage+"`") {
			t.Errorf("%s is not on the page", usage)
		}
	}
}

// A room that was joined is found by its name however that is written.
func TestNamesFindTheirRoom(t *testing.T) {
	c := &chat{rooms: []*membership{{name: "Café-ops"}, {name: "ας"}}}
	for name, want := range map[string]bool{"cafe\u0301-OPS": true, "ｃａｆé-ｏｐｓ": true, "ας": true, "ασ": false, "caf": false} {
		if got := c.find(name); (got != nil) != want {
			t.Errorf("joined %s: %v", name, got != nil)
		}
	}
}
