package wire_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roomd/netsvc/wire"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)

func TestEventForms(t *testing.T) {
	two := 2
	cet := time.FixedZone("CET", 3600)
	for _, c := range []struct {
		event      wire.Event
		text, json string // without the line end
	}{
		{
			wire.Event{Seq: 812, Time: noon, Type: wire.TypeMessage, From: "ann", Text: "hello"},
			`<ann> hello`,
			`{"seq":812,"time":"2026-11-23T12:00:00.123456Z","type":"message","from":"ann","text":"hello"}`,
		}, {
			wire.Event{Seq: 1, Time: noon.Truncate(time.Second).In(cet), Type: wire.TypeMessage, From: "ann"},
			`<ann> `,
			`{"seq":1,"time":"2026-11-23T12:00:00.000000Z","type":"message","from":"ann","text":""}`,
		}, {
			wire.Event{Seq: 814, Type: wire.TypeMessage, Notice: true, From: "ci", Text: "green"},
			`<ci> green`,
			`{"seq":814,"type":"message","notice":true,"from":"ci","text":"green"}`,
		}, {
			wire.Event{Seq: 813, Time: noon, Type: wire.TypeAction, From: "ann", Text: "waves"},
			`<ann> * waves`,
			`{"seq":813,"time":"2026-11-23T12:00:00.123456Z","type":"action","from":"ann","text":"waves"}`,
		}, {
			wire.Event{Time: noon, Type: wire.TypePrivate, From: "ann", To: "bob", Text: "psst"},
			`<ann -> bob> psst`,
			`{"time":"2026-11-23T12:00:00.123456Z","type":"private","from":"ann","to":"bob","text":"psst"}`,
		}, {
			wire.Event{Seq: 9, Type: wire.TypeTopic, From: "ann", Text: `<b> & "c"`},
			`* ann set the topic: <b> & "c"`,
			`{"seq":9,"type":"topic","from":"ann","text":"<b> & \"c\""}`,
		}, {
			wire.Event{Seq: 10, Type: wire.TypeTopic, From: "ann"},
			`* ann removed the topic`,
			`{"seq":10,"type":"topic","from":"ann","text":""}`,
		}, {
			wire.Event{Type: wire.TypeJoin, From: "guest-7", Members: 3},
			`* guest-7 joined (3 here)`,
			`{"type":"join","from":"guest-7","members":3}`,
		}, {
			wire.Event{Type: wire.TypeLeave, From: "ann"},
			`* ann left (0 here)`,
			`{"type":"leave","from":"ann","members":0}`,
		}, {
			wire.Event{Type: wire.TypeLeave, From: "ann", Members: 2, Kicked: true, Parted: true, Reason: "bye"},
			`* ann left (2 here)`,
			`{"type":"leave","from":"ann","members":2}`,
		}, {
			wire.Event{Type: wire.TypeNick, From: "guest-7", Nick: "ann"},
			`* guest-7 is now ann`,
			`{"type":"nick","from":"guest-7","nick":"ann"}`,
		}, {
			wire.Event{Type: wire.TypeNotice, Text: "lobby: 3 here, you are guest-7 (/help)"},
			`* lobby: 3 here, you are guest-7 (/help)`,
			`{"type":"notice","text":"lobby: 3 here, you are guest-7 (/help)"}`,
		}, {
			wire.Event{Type: wire.TypeDeleted, Text: "lobby: chat room being deleted"},
			`* lobby: chat room being deleted`,
			`{"type":"deleted","text":"lobby: chat room being deleted"}`,
		}, {
			wire.Event{Type: wire.TypePong, Seq: 812},
			`* pong 812`,
			`{"seq":812,"type":"pong"}`,
		}, {
			wire.Event{Type: wire.TypePong},
			`* pong 0`,
			`{"seq":0,"type":"pong"}`,
		}, {
			wire.Event{Type: wire.TypeMember, Nick: "ann", Since: noon.In(cet)},
			`* ann, here since 2026-11-23 12:00:00 UTC`,
			`{"type":"member","nick":"ann","since":"2026-11-23T12:00:00.123456Z"}`,
		}, {
			wire.Event{Type: wire.TypeOK, Command: "who", Count: &two, Text: "2 here:"},
			`* 2 here:`,
			`{"type":"ok","command":"who","count":2,"text":"2 here:"}`,
		}, {
			wire.Event{Type: wire.TypeOK, Command: "since", Count: new(int), Newest: 812, Oldest: 700},
			``,
			`{"type":"ok","command":"since","count":0,"newest":812,"oldest":700}`,
		}, {
			wire.Event{Type: wire.TypeOK, Command: "since", Newest: 812, RoomID: "k3.1", Epoch: "x9", LineBytes: 4096, Text: "on"},
			`* on`,
			`{"type":"ok","command":"since","newest":812,"room_id":"k3.1","epoch":"x9","line_bytes":4096,"id_bytes":64,"text":"on"}`,
		}, {
			wire.Event{Type: wire.TypeError, Command: "say", Code: wire.CodeTooLong, Text: "not sent: too long"},
			`* not sent: too long`,
			`{"type":"error","command":"say","code":"too-long","text":"not sent: too long"}`,
		},
	} {
		text := c.text
		if text != "" {
			text += "\n"
		}
		// Both append to what is there.
		if got := string(c.event.AppendText([]byte("before "))); got != "before "+text {
			t.Errorf("%+v: %q, want %q", c.event, got, text)
		}
		if got := string(c.event.AppendJSON([]byte("before "))); got != "before "+c.json+"\n" {
			t.Errorf("%+v:\n%s, want\n%s", c.event, got, c.json)
		}
	}
}

// No line of text can be taken for JSON, and none of a member for one of the server.
func TestWhoSpeaksIsPlain(t *testing.T) {
	for _, typ := range types {
		e := wire.Event{Type: typ, From: "ann", To: "bob", Nick: "bob", Text: "* ann left (2 here)"}
		want := "* "
		if typ == wire.TypeMessage || typ == wire.TypeAction || typ == wire.TypePrivate {
			want = "<ann"
		}
		if got := string(e.AppendText(nil)); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q", typ, got)
		}
	}
}

var types = []wire.Type{
	wire.TypeMessage, wire.TypeAction, wire.TypeTopic, wire.TypeJoin, wire.TypeLeave, wire.TypeNick, wire.TypeNotice,
	wire.TypePrivate, wire.TypeDeleted, wire.TypePong, wire.TypeMember, wire.TypeOK, wire.TypeError,
}

// object is an Event for encoding/json, which leaves nil fields out.
type object struct {
	Seq     *uint64   `json:"seq,omitempty"`
	Time    string    `json:"time,omitempty"`
	Type    wire.Type `json:"type"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	Nick    string    `json:"nick,omitempty"`
	Since   string    `json:"since,omitempty"`
	Members *int      `json:"members,omitempty"`
	Command string    `json:"command,omitempty"`
	Code    string    `json:"code,omitempty"`
	Count   *int      `json:"count,omitempty"`
	Newest  uint64    `json:"newest,omitempty"`
	Oldest  uint64    `json:"oldest,omitempty"`
	Text    *string   `json:"text,omitempty"`
}

func objectOf(e wire.Event) object {
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02T15:04:05.000000") + "Z"
	}
	o := object{
		Time: stamp(e.Time), Type: e.Type, From: e.From, To: e.To, Nick: e.Nick, Since: stamp(e.Since), Command: e.Command,
		Code: e.Code, Count: e.Count, Newest: e.Newest, Oldest: e.Oldest,
	}
	if e.Seq > 0 || e.Type == wire.TypePong {
		o.Seq = &e.Seq
	}
	if e.Type == wire.TypeJoin || e.Type == wire.TypeLeave {
		o.Members = &e.Members
	}
	switch e.Type {
	case wire.TypeMessage, wire.TypeAction, wire.TypeTopic, wire.TypeNotice, wire.TypePrivate, wire.TypeDeleted, wire.TypeError:
		o.Text = &e.Text
	default:
		if e.Text != "" {
			o.Text = &e.Text
		}
	}
	return o
}

// checkJSON compares with encoding/json, byte for byte.
func checkJSON(t interface{ Fatalf(string, ...any) }, e wire.Event) {
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(objectOf(e)); err != nil {
		t.Fatalf("%v", err)
	}
	got := e.AppendJSON(nil)
	if !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("%+v:\n%s, want\n%s", e, got, want.Bytes())
	}
	if !json.Valid(got) || bytes.Count(got, []byte("\n")) != 1 {
		t.Fatalf("%q is not one line of JSON", got)
	}
}

func TestJSONIsEncodingJSON(t *testing.T) {
	text := rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{"", "<>&", "\u2028\u2029", "\b\f\n\r\t\"\\/", "\x00\x1f\x7f\u0080", "\xff\xc3", "\ufffd", "👩\u200d🚀"}),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
	stamp := rapid.Map(rapid.Int64Range(0, 1<<52), func(n int64) time.Time {
		if n == 0 {
			return time.Time{}
		}
		return time.UnixMicro(n)
	})
	rapid.Check(t, func(t *rapid.T) {
		checkJSON(t, wire.Event{
			Seq:     rapid.Uint64().Draw(t, "seq"),
			Time:    stamp.Draw(t, "time"),
			Type:    rapid.SampledFrom(types).Draw(t, "type"),
			From:    text.Draw(t, "from"),
			To:      text.Draw(t, "to"),
			Nick:    text.Draw(t, "nick"),
			Since:   stamp.Draw(t, "since"),
			Members: rapid.Int().Draw(t, "members"),
			Command: text.Draw(t, "command"),
			Code:    text.Draw(t, "code"),
			Count:   rapid.Ptr(rapid.Int(), true).Draw(t, "count"),
			Newest:  rapid.Uint64().Draw(t, "newest"),
			Oldest:  rapid.Uint64().Draw(t, "oldest"),
			Text:    text.Draw(t, "text"),
		})
	})
}

func FuzzEventJSON(f *testing.F) {
	f.Add(uint8(0), uint64(812), int64(1795435200123456), "ann", "hello")
	f.Add(uint8(9), uint64(0), int64(0), "", "\"\\\u2028\xff\x00\n")
	f.Fuzz(func(t *testing.T, typ uint8, seq uint64, micro int64, from, text string) {
		e := wire.Event{Seq: seq, Type: types[int(typ)%len(types)], From: from, To: text, Nick: from, Text: text}
		// The form has no years of more than four digits.
		if micro > 0 && micro < 1<<52 {
			e.Time = time.UnixMicro(micro)
		}
		checkJSON(t, e)
		e.From, e.To, e.Nick, e.Text = wire.CleanString(e.From), wire.CleanString(e.To), wire.CleanString(e.Nick), wire.CleanString(e.Text)
		line := e.AppendText(nil)
		empty := e.Type == wire.TypeOK && e.Text == ""
		if empty != (len(line) == 0) || !empty && bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%q is not one line", line)
		}
	})
}

var message = wire.Event{Seq: 812, Time: noon, Type: wire.TypeMessage, From: "ann", Text: `a line of "usual" length, wie man sie tippt: 東京`}

func TestRenderingTakesNoMemory(t *testing.T) {
	b := make([]byte, 0, 1024)
	for _, typ := range types {
		e := message
		e.Type, e.Since = typ, noon
		if n := testing.AllocsPerRun(100, func() { e.AppendText(b); e.AppendJSON(b) }); n != 0 {
			t.Errorf("%s: %v allocations", typ, n)
		}
	}
}

func BenchmarkAppendText(b *testing.B) {
	p := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		message.AppendText(p)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	p := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		message.AppendJSON(p)
	}
}
