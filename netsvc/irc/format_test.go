package irc

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"roomd/netsvc/wire"
)

var (
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)
	lobby = Place{Name: "Lobby", ID: 71}
)

func formatAt(level tagLevel) *Format {
	return &Format{Host: func() string { return "irc.example.org" }, Level: level}
}

func TestRender(t *testing.T) {
	extended := formatAt(noTags)
	extended.Extended = true
	alone := Place{Name: "Lobby", ID: 71, To: "ann"}
	for _, c := range []struct {
		format *Format
		at     Place
		ev     wire.Event
		want   string // without the line end; "": nothing
	}{
		{formatAt(noTags), lobby, wire.Event{Seq: 812, Time: noon, Type: wire.TypeMessage, From: "ann", Text: "hello"}, ":ann!u@irc.example.org PRIVMSG #Lobby :hello"},
		{formatAt(timeTag), lobby, wire.Event{Seq: 812, Time: noon, Type: wire.TypeMessage, From: "ann", Text: ":)"}, "@time=2026-11-23T12:00:00.123Z :ann!u@irc.example.org PRIVMSG #Lobby ::)"},
		{formatAt(allTags), lobby, wire.Event{Seq: 812, Time: noon, Type: wire.TypeMessage, From: "ann", Text: "hello"}, "@time=2026-11-23T12:00:00.123Z;msgid=1z-812 :ann!u@irc.example.org PRIVMSG #Lobby :hello"},
		{formatAt(allTags), lobby, wire.Event{Seq: 812, Type: wire.TypeMessage, From: "ann", Text: "hello"}, "@msgid=1z-812 :ann!u@irc.example.org PRIVMSG #Lobby :hello"},
		{formatAt(allTags), lobby, wire.Event{Seq: 812, Time: noon, Type: wire.TypeAction, From: "ann", Text: "waves"}, "@time=2026-11-23T12:00:00.123Z;msgid=1z-812 :ann!u@irc.example.org PRIVMSG #Lobby :\x01ACTION waves\x01"},
		{formatAt(allTags), lobby, wire.Event{Seq: 812, Time: noon, Type: wire.TypeTopic, From: "ann", Text: "new one"}, "@time=2026-11-23T12:00:00.123Z;msgid=1z-812 :ann!u@irc.example.org TOPIC #Lobby :new one"},
		{formatAt(noTags), lobby, wire.Event{Seq: 812, Type: wire.TypeTopic, From: "ann"}, ":ann!u@irc.example.org TOPIC #Lobby :"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypeJoin, From: "ann", Members: 3}, ":ann!u@irc.example.org JOIN #Lobby"},
		{extended, lobby, wire.Event{Type: wire.TypeJoin, From: "ann", Members: 3}, ":ann!u@irc.example.org JOIN #Lobby * ann"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypeLeave, From: "ann"}, ":ann!u@irc.example.org QUIT :"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypeLeave, From: "ann", Reason: "see you"}, ":ann!u@irc.example.org QUIT :see you"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypeLeave, From: "ann", Parted: true}, ":ann!u@irc.example.org PART #Lobby"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypeLeave, From: "ann", Parted: true, Reason: "see you"}, ":ann!u@irc.example.org PART #Lobby :see you"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypeLeave, From: "ann", Kicked: true, Reason: "be nice"}, ":irc.example.org KICK #Lobby ann :be nice"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypeNick, From: "guest-7", Nick: "ann"}, ":guest-7!u@irc.example.org NICK ann"},
		{formatAt(allTags), lobby, wire.Event{Time: noon, Type: wire.TypeNotice, Text: "operator: soon"}, "@time=2026-11-23T12:00:00.123Z :irc.example.org NOTICE #Lobby :operator: soon"},
		{formatAt(noTags), alone, wire.Event{Type: wire.TypeNotice, Text: "soon"}, ":irc.example.org NOTICE ann :[#Lobby] soon"},
		{formatAt(noTags), alone, wire.Event{Type: wire.TypeError, Code: "busy", Text: "not sent: busy"}, ":irc.example.org NOTICE ann :[#Lobby] not sent: busy"},
		{formatAt(noTags), alone, wire.Event{Type: wire.TypeError, Command: "say", Text: "not sent: you are muted"}, ":irc.example.org 404 ann #Lobby :not sent: you are muted"},
		{formatAt(timeTag), alone, wire.Event{Time: noon, Type: wire.TypeError, Command: "topic", Text: "not sent: no"}, "@time=2026-11-23T12:00:00.123Z :irc.example.org 482 ann #Lobby :not sent: no"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypePrivate, From: "ann", To: "bob", Text: "psst"}, ":ann!u@irc.example.org PRIVMSG bob :psst"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypePrivate, From: "ann", To: "bob", Text: "\x01VERSION\x01"}, ":ann!u@irc.example.org PRIVMSG bob :\x01VERSION\x01"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypePrivate, From: "ann", To: "bob", Text: "\x01ACTION waves"}, ":ann!u@irc.example.org PRIVMSG bob :\x01ACTION waves\x01"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypePrivate, Notice: true, From: "ann", To: "bob", Text: "done"}, ":ann!u@irc.example.org NOTICE bob :done"},
		{formatAt(allTags), lobby, wire.Event{Seq: 813, Type: wire.TypeMessage, Notice: true, From: "ci", Text: "green"}, "@msgid=1z-813 :ci!u@irc.example.org NOTICE #Lobby :green"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypeMessage, From: "", Text: "from nobody"}, ":irc.example.org PRIVMSG #Lobby :from nobody"},
		{formatAt(noTags), lobby, wire.Event{Type: wire.TypeMessage, From: "a b", Text: "\x01PING\r\n\x00"}, ":irc.example.org PRIVMSG #Lobby :\ufffdPING   "},
		{formatAt(allTags), lobby, wire.Event{Time: noon, Type: wire.TypeDeleted, Text: "Lobby: chat room being deleted"}, ""},
		{formatAt(allTags), lobby, wire.Event{Type: wire.TypeOK, Text: "done"}, ""},
		{formatAt(allTags), lobby, wire.Event{Type: wire.TypePong, Seq: 8}, ""},
		{formatAt(allTags), lobby, wire.Event{Type: wire.TypeMember, Nick: "ann"}, ""},
	} {
		want := c.want
		if want != "" {
			want += "\r\n"
		}
		if got := string(c.format.Render([]byte("x\n"), c.at, c.ev)); got != "x\n"+want {
			t.Errorf("%v: %q, want %q", c.ev, got[2:], want)
		}
	}
}

func TestReplay(t *testing.T) {
	ev := wire.Event{Seq: 812, Time: noon.In(time.FixedZone("CET", 3600)), Type: wire.TypeAction, From: "ann", Text: "waves"}
	for _, c := range []struct {
		level tagLevel
		how   Playback
		want  string
	}{
		{noTags, Playback{Clock: true}, ":ann!u@irc.example.org PRIVMSG #Lobby :\x01ACTION [2026-11-23 12:00] waves\x01"},
		{noTags, Playback{Batch: "b1"}, "@batch=b1 :ann!u@irc.example.org PRIVMSG #Lobby :\x01ACTION waves\x01"},
		{timeTag, Playback{}, "@time=2026-11-23T12:00:00.123Z :ann!u@irc.example.org PRIVMSG #Lobby :\x01ACTION waves\x01"},
		{timeTag, Playback{Clock: true}, "@time=2026-11-23T12:00:00.123Z :ann!u@irc.example.org PRIVMSG #Lobby :\x01ACTION [2026-11-23 12:00] waves\x01"},
		{allTags, Playback{Batch: "b1", Topics: true}, "@batch=b1;time=2026-11-23T12:00:00.123Z;msgid=1z-812 :ann!u@irc.example.org PRIVMSG #Lobby :\x01ACTION waves\x01"},
	} {
		if got := string(formatAt(c.level).Replay(nil, lobby, ev, c.how)); got != c.want+"\r\n" {
			t.Errorf("%d, %v: %q, want %q", c.level, c.how, got, c.want)
		}
		if got := playbackOf(c.how.label()); got != c.how {
			t.Errorf("%v has the label of %v", got, c.how)
		}
	}
	topic := wire.Event{Seq: 813, Time: noon, Type: wire.TypeTopic, From: "ann", Text: "new"}
	if got := formatAt(allTags).Replay(nil, lobby, topic, Playback{Batch: "b1"}); got != nil {
		t.Errorf("%q", got)
	}
	if got := string(appendClock(nil, noon, noon.Add(11*time.Hour))); got != "[12:00] " {
		t.Error(got)
	}
	b := formatAt(allTags).Render(appendTag(nil, "label", "7"), lobby, ev)
	if !bytes.HasPrefix(b, []byte("@label=7;time=2026-")) {
		t.Errorf("%q", b)
	}
}

// A long text is split; each line is a whole one, and together they are the text.
func TestRenderLongText(t *testing.T) {
	long := strings.Repeat("word and ünïcödé ", 80)
	at := Place{Name: strings.Repeat("長", 32), ID: 1}
	private := wire.Event{Type: wire.TypePrivate, From: "ann", To: "bob", Text: "\x01ACTION " + long + "\x01"}
	for line := range bytes.Lines(formatAt(noTags).Render(nil, at, private)) {
		m := parseOut(t, line)
		if name, _, _ := ParseCTCP(m.Param(1)); name != action || !bytes.HasSuffix(line, []byte("\x01\r\n")) {
			t.Errorf("%q", line)
		}
	}
	for _, kind := range []wire.Type{wire.TypeMessage, wire.TypeAction, wire.TypePrivate, wire.TypeNotice} {
		ev := wire.Event{Seq: 5, Time: noon, Type: kind, From: strings.Repeat("長", 32), To: "bob", Text: long}
		got, n := "", 0
		for line := range bytes.Lines(formatAt(allTags).Render(nil, at, ev)) {
			m := parseOut(t, line)
			if _, ok := m.Tag("time"); !ok {
				t.Errorf("%q has no time", line)
			}
			if id, ok := m.Tag("msgid"); ok != (n == 0) || ok && id != "1-5" {
				t.Errorf("line %d has the msgid %q", n, id)
			}
			text := m.Param(1)
			if kind == wire.TypeAction {
				if _, text, _ = ParseCTCP(m.Param(1)); !strings.HasSuffix(m.Param(1), "\x01") {
					t.Errorf("%q", line)
				}
			}
			got += text
			n++
		}
		if got != long || n < 5 || n > 8 {
			t.Errorf("%s: %d lines, %q", kind, n, got)
		}
	}
	for _, kind := range []wire.Type{wire.TypeTopic, wire.TypeLeave} {
		if b := formatAt(allTags).Render(nil, at, wire.Event{Type: kind, From: "ann", Text: long, Reason: long}); len(parseOut(t, b).Params) == 0 {
			t.Errorf("%q", b)
		}
	}
}

// parseOut parses a line with its ending, and checks what holds for each line out.
func parseOut(t *testing.T, line []byte) Message {
	t.Helper()
	inside, ok := bytes.CutSuffix(line, []byte("\r\n"))
	m, err := ParseMessage(inside)
	if !ok || err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return m
}

func TestRenderDoesNotAllocate(t *testing.T) {
	f, b := formatAt(allTags), make([]byte, 0, 16<<10)
	f.Extended = true
	two := strings.Repeat("word ", 150)
	for _, ev := range []wire.Event{
		{Seq: 812, Time: noon, Type: wire.TypeMessage, From: "ann", Text: "hello"},
		{Seq: 812, Time: noon, Type: wire.TypeAction, From: "ann", Text: two},
		{Seq: 812, Time: noon, Type: wire.TypeTopic, From: "ann", Text: "a topic"},
		{Time: noon, Type: wire.TypeJoin, From: "ann"},
		{Time: noon, Type: wire.TypeLeave, From: "ann", Kicked: true},
		{Time: noon, Type: wire.TypeNotice, Text: "soon"},
	} {
		if n := testing.AllocsPerRun(100, func() { b = f.Replay(b[:0], lobby, ev, Playback{"b1", true, true}) }); n > 0 {
			t.Errorf("%s: %v allocations", ev.Type, n)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	f, ev := formatAt(allTags), wire.Event{Seq: 812, Time: noon, Type: wire.TypeMessage, From: "ann", Text: strings.Repeat("x", 64)}
	p := make([]byte, 0, 1024)
	b.ReportAllocs()
	for range b.N {
		p = f.Render(p[:0], lobby, ev)
	}
}

func FuzzRender(f *testing.F) {
	f.Add(uint8(0), "ann", "bob", "a text", "because", uint8(7))
	f.Add(uint8(1), "", "", strings.Repeat("é \x01\r\n", 200), "\x00", uint8(0))
	kinds := []wire.Type{wire.TypeMessage, wire.TypeAction, wire.TypeTopic, wire.TypeJoin, wire.TypeLeave, wire.TypeNotice, wire.TypePrivate, wire.TypeError}
	f.Fuzz(func(t *testing.T, kind uint8, from, to, text, reason string, bits uint8) {
		if !isMiddle(to) || len(from) > 4*wire.MaxName || len(to) > 4*wire.MaxName {
			return
		}
		ev := wire.Event{
			Type: kinds[int(kind)%len(kinds)], From: from, To: to, Text: text, Reason: reason, Seq: uint64(bits), Time: noon,
			Kicked: bits&1 > 0, Parted: bits&2 > 0,
		}
		for line := range bytes.Lines(formatAt(tagLevel(bits)%tagLevels).Render(nil, lobby, ev)) {
			rest := line
			if line[0] == '@' {
				_, rest, _ = bytes.Cut(line, []byte(" "))
			}
			if !bytes.HasSuffix(line, []byte("\r\n")) || bytes.Count(line, []byte("\r")) > 1 || bytes.IndexByte(line, 0) >= 0 || len(rest) > MaxLine {
				t.Fatalf("%q", line)
			}
			if utf8.ValidString(from+to+text+reason) && !utf8.Valid(line) {
				t.Fatalf("%q", line)
			}
			parseOut(t, line)
		}
	})
}
