package netsvc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

// named takes a nick in JSON, and returns the code that it is refused with.
func (p *peer) named(nick string) (code string) {
	p.T.Helper()
	p.Send("/nick " + nick)
	for {
		var ev struct{ Type, Command, Code string }
		if err := json.Unmarshal([]byte(p.Line()), &ev); err != nil {
			p.T.Fatal(err)
		}
		if ev.Command == "nick" {
			return ev.Code
		}
	}
}

func joinJSON(t testing.TB, port int) *peer {
	p := join(t, port)
	p.Send("/json")
	p.Until("{")
	return p
}

// Whole-script confusables of nicks that are there are refused, in both directions,
// whoever came first, and no longer than the nick is there. Names of one script may
// look alike.
func TestNicksThatLookAlike(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	ann, bob := joinJSON(t, port), joinJSON(t, port)
	for i, step := range []struct {
		p          *peer
		nick, code string
	}{
		{bob, "Max", ""}, {ann, "Мах", wire.CodeExists}, {ann, "МАХ", wire.CodeExists},
		{bob, "MAX", ""}, {ann, "Мах", wire.CodeExists},
		{bob, "bob", ""}, {ann, "Мах", ""},
		{bob, "Max", wire.CodeExists}, {bob, "mAX", wire.CodeExists}, {bob, "max", wire.CodeExists},
		{bob, "rnax", wire.CodeExists}, {bob, "maxi", ""},
		{bob, "b0b", ""}, {bob, "Bob", ""}, // of one script
		{ann, "МАХ", ""}, {ann, "Мах", ""}, // its own, in another spelling
		{ann, "ann", ""}, {bob, "max", ""}, {ann, "Мах", wire.CodeExists},
	} {
		if code := step.p.named(step.nick); code != step.code {
			t.Errorf("step %d: %s is answered %q, and not %q", i, step.nick, code, step.code)
		}
	}
	if cid := joinJSON(t, port); cid.named("guest-3") != "" || cid.named("Guest-3") != wire.CodeBadName || cid.named("guest-4") != wire.CodeBadName {
		t.Error("a guest keeps its name, and gets no other guest's")
	}
	bob.Conn.Close()
	eventually(t, "the nick is free", func() bool { return ann.named("Мах") == "" })
	for _, nick := range []string{
		"operator", "OPERATOR", "0perator", "Operat0r", "guest-l", "guest-1O", "guest-l0", "guest-12", "Guest-05", "guest-0003", "GUEST-7",
		"ｇｕｅｓｔ-７", "guest_3", "guest.3", "guest--3", "guest3", "guest10", "guest-3.",
		"7", "007", "127.0.0.1", "127.1", "0x7f.1", "１２３", "٣٤", "1.2.3.4.5", "0777",
	} {
		if code := ann.named(nick); code != wire.CodeBadName {
			t.Errorf("%s is answered %q", nick, code)
		}
	}
	for _, nick := range []string{"7up", "v1.2", "guest-", "guest", "guest-x", "guestlol", "guest-1-2", "guests3", "operators", "2nd"} {
		if code := ann.named(nick); code != "" {
			t.Errorf("%s is answered %q", nick, code)
		}
	}
	if found := s.Service.Inconsistencies(); len(found) > 0 {
		t.Error(found)
	}
}

// Digits of another width, and digits beside letters that are not ASCII, make names.
// What is written from right to left and begins with one is told why it makes none.
func TestNamesWithDigits(t *testing.T) {
	s := startServer(t)
	op := dial(t, s.Service.Port())
	for _, c := range []struct{ line, want string }{
		{"CREATE １２３", "OK １２３ "}, {"CREATE 2é", "OK 2é "},
		{"CREATE ٣", `ERR bad-name "٣" cannot be a name: a name written from right to left must start with a letter (RFC 5893)`},
		{"JOIN 123", "OK １２３ "},
	} {
		op.Send(c.line)
		if got := op.Line(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s is answered %q, and not %s", c.line, got, c.want)
		}
	}
	ann := joinJSON(t, s.Create("lobby"))
	for nick, code := range map[string]string{"2é": "", "ä-": "", "１２３": wire.CodeBadName, "٣": wire.CodeBadName} {
		if got := ann.named(nick); got != code {
			t.Errorf("%s is answered %q", nick, got)
		}
	}
}

// Nothing that shows nothing is a name, a topic or a line. Within a line it stays.
func TestEmptyLooks(t *testing.T) {
	s := startServer(t)
	op := dial(t, s.Service.Port())
	for _, r := range []string{"\U00013441", "\U00013430", "\U00013438", "\U00013443", "\U0001d159", "\U00016fe4", "\u2800", "\u3164", "\uffa0", "\u115f"} {
		op.Send("CREATE " + r)
		if got := op.Line(); !strings.HasPrefix(got, "ERR bad-name ") {
			t.Errorf("%+q is answered %q", r, got)
		}
	}
	if _, _, err := s.Service.Create("lobby", netsvc.Creation{Topic: " \U0001d159\u3164"}); err != nil {
		t.Fatal(err)
	}
	port := s.Room("lobby").Port
	ann := join(t, port)
	for _, r := range []string{"\U00013441", "\U0001d159", "\U00016fe4"} {
		ann.Send(r, "/topic "+r, "/nick "+r, "a"+r+"b  ")
		ann.Expect("* no topic is set; /topic TEXT sets it")
		if got := ann.Line(); !strings.HasPrefix(got, "* ") || !strings.Contains(got, "cannot be a name") {
			t.Errorf("%+q is answered %q", r, got)
		}
		ann.Expect("<guest-1> a" + r + "b  ")
		if err := s.Service.SetTopic("lobby", r); err != nil || s.Room("lobby").Topic != "" {
			t.Errorf("%+q is the topic, %v", r, err)
		}
		ann.Expect("* the operator removed the topic")
	}
}

// Rooms are told apart as nicks are. Those that are there already serve on, and a
// deletion can be undone.
func TestRoomsThatLookAlike(t *testing.T) {
	s := startServer(t)
	s.Create("Max")
	code := func(err error) string {
		c, _, _ := netsvc.ClientError(err)
		return c
	}
	make := func(name string) error {
		_, _, err := s.Service.Create(name, netsvc.Creation{})
		return err
	}
	for _, alike := range []string{"Мах", "МАХ", "max"} {
		if err := make(alike); code(err) != wire.CodeExists {
			t.Errorf("%s: %v", alike, err)
		}
	}
	s.Create("7")
	s.Create("operator")
	s.Create("rnax") // Latin as well
	s.Create("hall")
	if _, err := s.Service.Rename("hall", "Мах"); code(err) != wire.CodeExists {
		t.Error(err)
	}
	if err := s.Service.Delete("Max", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Service.Delete("rnax", ""); err != nil {
		t.Fatal(err)
	}
	s.Create("Мах")
	if _, err := s.Service.Rename("Мах", "мах"); err != nil { // another spelling of its own
		t.Error(err)
	}
	if _, err := s.Service.Rename("мах", "Мах"); err != nil {
		t.Error(err)
	}
	if _, err := s.Service.Restore("Max"); err != nil {
		t.Error("the deletion cannot be undone:", err)
	}
	s.Stop()
	s.Start()
	var names []string
	for _, r := range s.Service.List() {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "7 hall Max operator Мах" {
		t.Errorf("after a restart there are %s", got)
	}
	if found := s.Service.Inconsistencies(); len(found) > 0 {
		t.Error(found)
	}
}
