package netsvc_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/netsvc/wire"
	"roomd/store"
)

// found asks for a search in JSON, and returns the numbers of the lines of the answer.
func (p *peer) found(text string) (seqs []uint64) {
	p.T.Helper()
	p.Send("/search " + text)
	missing := -1
	for missing != 0 {
		var ev struct {
			Seq, Newest   uint64
			Type, Command string
			Count         *int
			RoomID        string `json:"room_id"`
		}
		l := p.Line()
		if err := json.Unmarshal([]byte(l), &ev); err != nil {
			p.T.Fatal(l, err)
		}
		switch {
		case ev.Command == "search" && (ev.Count == nil || ev.RoomID == ""):
			p.T.Fatal(l)
		case ev.Command == "search":
			missing = *ev.Count
		case missing > 0:
			seqs = append(seqs, ev.Seq)
			missing--
		}
	}
	return seqs
}

// The newest 50 lines whose text or sender contains the text, ignoring case, in the order of the
// room, for people and in JSON; also lines in the database, and in a room where nobody may speak.
func TestSearch(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		port := s.Create("lobby")
		ann := join(t, port)
		ann.Send("/search anything")
		ann.Expect("* no lines found")
		ann.Send("/nick Zoë", "Lunch at ÉCOLE?", "no", "/me has lunch", "/notice lunch is over", "/topic LUNCH")
		ann.Until("* Zoë set the topic: LUNCH")
		ann.Send("/search lunch")
		ann.Expect("* 4 lines found", "<Zoë> Lunch at ÉCOLE?", "<Zoë> * has lunch", "<Zoë> lunch is over", "* Zoë set the topic: LUNCH", "* end of found lines")
		ann.Send("/search école?")
		ann.Expect("* 1 line found", "<Zoë> Lunch at ÉCOLE?", "* end of found lines")
		ann.Send("/search ZOË")
		ann.Until("* 5 lines found")
		ann.Until("* end of found lines")
		ann.Send("/search nowhere", "/search   ")
		ann.Expect("* no lines found", "* /search takes a text: /search lunch")
		if err := s.Store.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		var all []uint64
		for i := range 120 {
			ann.Send(fmt.Sprint("number ", i))
		}
		ann.Until("<Zoë> number 119")
		bot := join(t, port)
		bot.Send("/json")
		bot.Until(`{"type":"ok","command":"json"`)
		for seq := uint64(6); seq <= 125; seq++ {
			all = append(all, seq)
		}
		if got := bot.found("NUMBER"); !slices.Equal(got, all[len(all)-50:]) {
			t.Errorf("found %d", got)
		}
		if got := bot.found("lunch"); !slices.Equal(got, []uint64{1, 3, 4, 5}) {
			t.Errorf("found %d", got)
		}
		ann.Send("/search number")
		ann.Until("* the newest 50 lines found")
		ann.Expect("<Zoë> number 70")
		ann.Until("* end of found lines")
		if _, err := s.Service.Set("lobby", func(o *store.Settings) { o.ReadOnly = true }); err != nil {
			t.Fatal(err)
		}
		ann.Until("* the operator made this room read-only")
		if got := bot.found("number 7"); len(got) != 11 {
			t.Errorf("found %d in a room where nobody may speak", got)
		}
	})
}

// A search has the lines before it in the stream, and no others, while the room speaks.
func TestSearchIsExact(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.StoreOptions.Retention.Lines = 0
		s.Start()
		port := s.Create("lobby")
		ann, bot := join(t, port), join(t, port)
		bot.Send("/json")
		bot.Until(`{"type":"ok","command":"json"`)
		const lines = 3000
		go func() {
			for i := range lines {
				fmt.Fprintf(ann.Conn, "needle %d\n", i)
			}
		}()
		newest, answers, missing := uint64(0), 0, 0
		var want uint64
		for newest < lines {
			if answers == 0 || missing == 0 {
				bot.Send("/search needle")
				answers++
				missing = -1
			}
			for missing != 0 && newest <= lines {
				var ev struct {
					Seq     uint64
					Command string
					Count   int
				}
				l := bot.Line()
				if err := json.Unmarshal([]byte(l), &ev); err != nil {
					t.Fatal(l, err)
				}
				switch {
				case ev.Command == "search":
					if ev.Count != min(50, int(newest)) {
						t.Fatalf("%d lines are found behind line %d", ev.Count, newest)
					}
					missing, want = ev.Count, newest-uint64(ev.Count)+1
				case missing > 0:
					if ev.Seq != want {
						t.Fatalf("line %d is found, and not %d", ev.Seq, want)
					}
					want++
					missing--
				case ev.Seq > 0:
					newest = ev.Seq
				}
			}
		}
		t.Logf("%d searches", answers)
	})
}

// A search in a long room is quick enough, and a client that closes its side gets the answer.
func TestSearchInALongRoom(t *testing.T) {
	s := newServer(t)
	s.StoreOptions.Retention.Lines = 0
	s.Start()
	port := s.Create("lobby")
	s.Stop()
	const lines = 60_000 // 300,000 take 0.15 s, and much longer to import
	st, err := store.Open(s.Path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st.Start(store.Follower{})
	var in strings.Builder
	fmt.Fprintf(&in, `{"room":{"name":"lobby","key":"lobby","port":%d},"last":%d}`+"\n", port, lines)
	for i := range lines {
		fmt.Fprintf(&in, `{"seq":%d,"time":"2026-11-23T12:00:00Z","kind":"message","from":"ann","text":"line %d: nobody has read this for a long time, and few have"}`+"\n", i+1, i+1)
	}
	if _, _, err := st.Import(strings.NewReader(in.String()), func(name string) (string, error) { return wire.Fold(name), nil }, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	s.Start()
	p := dial(t, port)
	p.Until("* end of earlier lines")
	for _, text := range []string{"needle", "LINE 17:"} {
		began := time.Now()
		p.Send("/search " + text)
		if p.Until("* "); text != "needle" {
			p.Expect("<ann> line 17: nobody has read this for a long time, and few have", "* end of found lines")
		}
		t.Logf("%s: %v", text, time.Since(began))
	}
	p.Send("/search line 5:")
	p.HalfClose()
	p.Until("* 1 line found")
	p.Until("* end of found lines")
	p.End()
}
