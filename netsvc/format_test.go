package netsvc

import (
	"testing"

	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
	"roomd/store"
)

// An event is rendered for those who are there: in no format that nobody reads, and if
// it is quiet in none for people.
func TestOnlyWhatIsReadIsRendered(t *testing.T) {
	ev := wire.Event{Seq: 7, Type: wire.TypeMessage, From: "ann", Text: "hi"}
	for _, c := range []struct {
		text, json int
		quiet      bool
		want       string
	}{
		{0, 0, false, ""}, {1, 0, false, "text"}, {0, 2, false, "JSON"}, {3, 1, false, "text JSON"}, {3, 1, true, "JSON"}, {3, 0, true, ""},
	} {
		r := &Room{svc: &Service{formats: formats{roomlog.Text: asText{}, roomlog.JSON: asJSON{}}}}
		r.nameAndPort.Store(newNameAndPort("lobby", "lobby", 9000))
		r.reads.of = [roomlog.Formats]int{c.text, c.json}
		e, got := r.render(ev, c.quiet), ""
		for f, b := range e.Rendered {
			if want := string(r.svc.formats[min(f, 1)].Render(nil, Place{}, ev)); len(b) > 0 && string(b) == want {
				got += " " + roomlog.Format(f).String()
			}
		}
		if got = got[min(1, len(got)):]; got != c.want || e.Empty() != (c.want == "") || e.Seq != 7 {
			t.Errorf("%+v: it is rendered as %q", c, got)
		}
	}
}

// The kinds of lines that the store keeps are types of events.
func TestKindsOfLines(t *testing.T) {
	for kind, want := range map[store.Kind]wire.Type{0: wire.TypeMessage, store.Message: wire.TypeMessage, store.Action: wire.TypeAction, store.Topic: wire.TypeTopic} {
		if got := lineEvent(&store.Line{Kind: kind}).Type; got != want {
			t.Errorf("a line of the kind %d is a %s, and not a %s", kind, got, want)
		}
	}
}
