package irc

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// pastLine is a line of a history that a test makes.
type pastLine struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"`
	From   string    `json:"from"`
	Text   string    `json:"text"`
	Notice bool      `json:"notice,omitempty"`
}

func (l *pastLine) millis() time.Time { return l.Time.Truncate(time.Millisecond) }

// importLines gives rooms, which are made if they are not there, a history. It restarts the server.
func (s *testServer) importLines(rooms map[string][]pastLine) {
	s.T.Helper()
	for name := range rooms {
		if !s.Service.HasRoom(name) {
			s.Create(name)
		}
	}
	var in strings.Builder
	enc := json.NewEncoder(&in)
	for name, lines := range rooms {
		enc.Encode(map[string]any{"room": map[string]any{"name": name}})
		for _, l := range lines {
			enc.Encode(l)
		}
	}
	s.Stop()
	st, err := store.Open(s.Path, s.StoreOptions)
	if err != nil {
		s.T.Fatal(err)
	}
	st.Start(store.Follower{})
	if _, _, err := st.Import(strings.NewReader(in.String()), func(name string) (string, error) { return name, nil }, nil, nil); err != nil {
		s.T.Fatal(err)
	}
	if err := st.Close(); err != nil {
		s.T.Fatal(err)
	}
	s.Start()
}

// pastLines makes n lines: with topics, actions and notices, gaps in the numbers, and several lines
// in a millisecond.
func pastLines(r *rand.Rand, n int) (all []pastLine) {
	l := pastLine{Time: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	for range n {
		l.Seq++
		if r.IntN(8) == 0 {
			l.Seq += r.Uint64N(50)
		}
		switch r.IntN(4) {
		case 0:
			l.Time = l.Time.Add(time.Duration(r.IntN(3e6)) * time.Microsecond)
		case 1:
			l.Time = l.Time.Add(time.Duration(r.IntN(400)) * time.Microsecond)
		}
		l.Kind, l.Notice = "message", r.IntN(9) == 0
		if k := r.IntN(10); k == 0 {
			l.Kind = "action"
		} else if k < 4 {
			l.Kind = "topic"
		}
		l.From, l.Text = "ann", fmt.Sprint("line ", l.Seq)
		all = append(all, l)
	}
	return all
}

var historyCaps = []string{"message-tags", "server-time", "batch", "standard-replies", "draft/chathistory", "draft/no-implicit-names"}

// history sends a request of CHATHISTORY, and returns the numbers of the lines that come, or the
// FAIL. Lines that are not in the batch are live ones.
func (c *ircClient) history(request string) (seqs []uint64, failed string) {
	c.t.Helper()
	c.send("CHATHISTORY " + request)
	ref := ""
	for {
		l := c.line()
		m, err := ParseMessage([]byte(l))
		batch, _ := m.Tag("batch")
		id, _ := m.Tag("msgid")
		_, seq, isLine := ParseMsgID(id)
		switch {
		case err != nil:
			c.t.Fatalf("%s: %q", request, l)
		case m.Command == "FAIL":
			return nil, l
		case m.Command == "BATCH" && ref == "":
			ref = m.Param(0)[1:]
		case m.Command == "BATCH":
			return seqs, ""
		case batch == ref && ref != "" && isLine:
			seqs = append(seqs, seq)
		case batch != "":
			c.t.Fatalf("%s: %q", request, l)
		}
	}
}

// naive is a naive CHATHISTORY over the lines that a client sees.
type naive []pastLine

// compare says where a line is from a selector: before it (-1), at it, or after it.
func (s selector) compare(l *pastLine) int {
	switch {
	case s.seq > 0 && l.Seq < s.seq:
		return -1
	case s.seq > 0 && l.Seq > s.seq:
		return 1
	case s.seq > 0:
		return 0
	}
	return l.millis().Compare(s.time)
}

func (all naive) where(ok func(l *pastLine) bool) (some naive) {
	for i := range all {
		if ok(&all[i]) {
			some = append(some, all[i])
		}
	}
	return some
}

// head and tail return n lines, and with whole those of the same millisecond.
func (all naive) head(n int, whole bool) naive {
	n = min(n, len(all))
	for whole && n > 0 && n < len(all) && all[n].millis().Equal(all[n-1].millis()) {
		n++
	}
	return all[:n]
}

func (all naive) tail(n int, whole bool) naive {
	from := max(0, len(all)-n)
	for whole && from > 0 && from < len(all) && all[from-1].millis().Equal(all[from].millis()) {
		from--
	}
	return all[from:]
}

func (all naive) answer(r *historyRequest) (seqs []uint64) {
	whole := r.from.seq == 0
	before := func(s selector) naive { return all.where(func(l *pastLine) bool { return s.compare(l) < 0 }) }
	after := func(s selector) naive { return all.where(func(l *pastLine) bool { return s.compare(l) > 0 }) }
	var got naive
	switch r.command {
	case "LATEST":
		got = all
		if !r.from.any {
			got = after(r.from)
		}
		got = got.tail(r.limit, whole)
	case "BEFORE":
		got = before(r.from).tail(r.limit, whole)
	case "AFTER":
		got = after(r.from).head(r.limit, whole)
	case "BETWEEN":
		if got = naive(after(r.from)).where(func(l *pastLine) bool { return r.to.compare(l) < 0 }).head(r.limit, whole); got == nil {
			got = naive(after(r.to)).where(func(l *pastLine) bool { return r.from.compare(l) < 0 }).tail(r.limit, whole)
		}
	case "AROUND":
		ahead, behind := before(r.from), all.where(func(l *pastLine) bool { return r.from.compare(l) >= 0 })
		k := min(len(behind), r.limit-r.limit/2)
		j := min(len(ahead), r.limit-k)
		k = min(len(behind), r.limit-j)
		got = append(slices.Clone(ahead.tail(j, whole && j > 0)), behind.head(k, whole && k > 0)...)
	}
	for _, l := range got {
		seqs = append(seqs, l.Seq)
	}
	return seqs
}

// Every answer of CHATHISTORY is that of a naive one.
func TestHistoryIsExact(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.CreateAnyone = true })
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	rooms := map[string][]pastLine{}
	for i, n := range []int{0, 1, 7, 150, 3000} {
		rooms[fmt.Sprint("room", i)] = pastLines(r, n)
	}
	s.importLines(rooms)
	few := uint64(1000)
	id, err := s.Service.Room("room4")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store.Update(id.ID, store.Edit{Settings: &store.Settings{Lines: &few}}); err != nil {
		t.Fatal(err)
	}
	netsvctest.Eventually(t, "old lines are removed", func() bool {
		st, err := s.Store.Stat(id.ID)
		return err == nil && st.Lines < 2000 && st.Removed > 0
	})
	clients := [2]*ircClient{s.login("plain", historyCaps...), s.login("whole", append(historyCaps, "draft/event-playback")...)}
	for _, c := range clients {
		for name := range rooms {
			c.send("JOIN #" + name)
		}
		c.sync()
	}
	clients[0].sync() // the other one has joined
	rapid.Check(t, func(t *rapid.T) {
		name := "room" + rapid.SampledFrom([]string{"0", "1", "2", "3", "4", "4"}).Draw(t, "room")
		info, err := s.Service.Room(name)
		if err != nil {
			t.Fatal(err)
		}
		stat, _ := s.Store.Stat(info.ID)
		lines := rooms[name]
		topics := rapid.Bool().Draw(t, "topics")
		selected := func() string {
			newest := uint64(1)
			at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
			if len(lines) > 0 {
				l := lines[rapid.IntRange(0, len(lines)-1).Draw(t, "line")]
				newest, at = l.Seq, l.Time
			}
			if rapid.Bool().Draw(t, "by id") {
				return "msgid=" + MsgID(info.ID, newest+rapid.Uint64Range(0, 1).Draw(t, "beside"))
			}
			at = at.Truncate(time.Millisecond).Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "beside")) * time.Millisecond)
			return "timestamp=" + string(appendServerTime(nil, at))
		}
		command := rapid.SampledFrom([]string{"LATEST", "BEFORE", "AFTER", "BETWEEN", "AROUND"}).Draw(t, "command")
		params := []string{command, "#" + name}
		if command == "LATEST" && rapid.Bool().Draw(t, "*") {
			params = append(params, "*")
		} else {
			params = append(params, selected())
		}
		if command == "BETWEEN" {
			params = append(params, selected())
		}
		params = append(params, fmt.Sprint(rapid.IntRange(1, 100).Draw(t, "limit")))
		req, err := parseHistory(params)
		if err != nil {
			t.Fatal(err)
		}
		want := naive(lines).where(func(l *pastLine) bool { return l.Seq > stat.Removed && (topics || l.Kind != "topic") }).answer(&req)
		c := clients[0]
		if topics {
			c = clients[1]
		}
		if got, failed := c.history(strings.Join(params, " ")); failed != "" || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %s\ngot  %d\nwant %d", params, failed, got, want)
		}
	})
}

// Who pages through a history by msgid or by time gets each line once, while new ones come.
func TestPaging(t *testing.T) {
	s := newServer(t, nil)
	seed := rand.Uint64()
	t.Log("seed", seed)
	all := pastLines(rand.New(rand.NewPCG(seed, 1)), 5000)
	s.importLines(map[string][]pastLine{"lobby": all})
	room, err := s.Service.Room("lobby")
	if err != nil {
		t.Fatal(err)
	}
	nc := netsvctest.Join(t, room.Port)
	byTime := func(l pastLine, beside int) string {
		return "timestamp=" + string(appendServerTime(nil, l.Time.Add(time.Duration(beside)*time.Millisecond)))
	}
	byID := func(l pastLine, beside int) string { return "msgid=" + MsgID(room.ID, l.Seq+uint64(beside)) }
	first, last := all[0], all[len(all)-1]
	first.Seq++ // no line has the number before 1
	for _, topics := range []bool{false, true} {
		caps := historyCaps
		if topics {
			caps = append(slices.Clone(caps), "draft/event-playback")
		}
		c := s.login(fmt.Sprint("ann", topics), caps...)
		c.send("JOIN #lobby")
		lines, want := map[uint64]pastLine{}, []uint64{}
		for _, l := range all {
			lines[l.Seq] = l
			if topics || l.Kind != "topic" {
				want = append(want, l.Seq)
			}
		}
		for by, selector := range map[string]func(pastLine, int) string{"msgid": byID, "time": byTime} {
			got := []uint64{}
			for at := selector(last, 1); ; {
				nc.Send("a line that comes meanwhile")
				page, failed := c.history("BEFORE #lobby " + at + " 77")
				if failed != "" {
					t.Fatal(failed)
				}
				if len(page) == 0 {
					break
				}
				got, at = append(page, got...), selector(lines[page[0]], 0)
			}
			if !slices.Equal(got, want) {
				t.Errorf("backward by %s: %d lines, and not %d", by, len(got), len(want))
			}
			got = got[:0]
			for at := byTime(first, -1); ; {
				nc.Send("a line that comes meanwhile")
				page, failed := c.history("AFTER #lobby " + at + " 77")
				if failed != "" {
					t.Fatal(failed)
				}
				k, live := slices.BinarySearch(page, last.Seq+1)
				if got = append(got, page[:k]...); live || k < len(page) || k == 0 {
					break
				}
				at = selector(lines[page[k-1]], 0)
			}
			if !slices.Equal(got, want) {
				t.Errorf("forward by %s: %d lines, and not %d", by, len(got), len(want))
			}
		}
	}
}

// What CHATHISTORY answers where there is nothing to read, or nobody may.
func TestHistoryAnswers(t *testing.T) {
	s := newServer(t, nil)
	room := func(name string) uint64 {
		d, err := s.Service.Room(name)
		if err != nil {
			t.Fatal(err)
		}
		return d.ID
	}
	s.login("bob")
	c := s.login("ann", append(historyCaps, "echo-message")...)
	c.send("JOIN #lobby")
	c.sync()
	c.expect("CHATHISTORY LATEST #LOBBY * 10", ":irc.test BATCH +1 chathistory #lobby", ":irc.test BATCH -1")
	c.expect("CHATHISTORY LATEST bob * 10", ":irc.test FAIL CHATHISTORY INVALID_TARGET LATEST bob :You cannot read the history of that, or it does not exist")
	c.expect("CHATHISTORY LATEST #dev * 10", ":irc.test FAIL CHATHISTORY INVALID_TARGET LATEST #dev :You cannot read the history of that, or it does not exist")
	c.expect("CHATHISTORY LATEST #none * 10", ":irc.test FAIL CHATHISTORY INVALID_TARGET LATEST #none :You cannot read the history of that, or it does not exist")
	c.expect("CHATHISTORY BEFORE #lobby msgid="+MsgID(room("dev"), 1)+" 10", ":irc.test FAIL CHATHISTORY INVALID_PARAMS BEFORE #lobby :No line of that room has that msgid")
	c.expect("CHATHISTORY BETWEEN #lobby msgid="+MsgID(room("lobby"), 1)+" msgid="+MsgID(room("dev"), 1)+" 10", ":irc.test FAIL CHATHISTORY INVALID_PARAMS BETWEEN #lobby :No line of that room has that msgid")
	c.expect("CHATHISTORY NEWEST #lobby * 10", ":irc.test FAIL CHATHISTORY INVALID_PARAMS NEWEST :CHATHISTORY has no such subcommand")
	c.expect("CHATHISTORY", ":irc.test FAIL CHATHISTORY INVALID_PARAMS * :Parameters are missing")
	// The answer is behind what the client has said.
	id := MsgID(room("lobby"), 1)
	c.send("PRIVMSG #lobby :hello")
	c.expect("CHATHISTORY LATEST #lobby * 10",
		"@time=T;msgid="+id+" :ann!u@irc.test PRIVMSG #lobby :hello", ":irc.test BATCH +2 chathistory #lobby",
		"@batch=2;time=T;msgid="+id+" :ann!u@irc.test PRIVMSG #lobby :hello", ":irc.test BATCH -2")
	// Without batch there are the lines only, and without tags they have their time.
	old := s.login("carl", "draft/chathistory")
	old.send("JOIN #lobby")
	old.sync()
	old.send("CHATHISTORY LATEST #lobby * 10")
	if got := old.sync(); len(got) != 1 || !regexp.MustCompile(`^:ann!u@irc.test PRIVMSG #lobby :\[[-0-9: ]+\] hello$`).MatchString(got[0]) {
		t.Error(got)
	}
}

// TARGETS are the rooms of the client whose newest lines are in a time.
func TestHistoryTargets(t *testing.T) {
	s := newServer(t, nil)
	at := func(ms int) time.Time { return time.Date(2026, 11, 1, 12, 0, 0, ms*1e6, time.UTC) }
	s.importLines(map[string][]pastLine{
		"lobby": {{Seq: 1, Time: at(1), Kind: "message", From: "ann"}, {Seq: 5, Time: at(30), Kind: "topic", From: "ann"}},
		"dev":   {{Seq: 1, Time: at(20), Kind: "message", From: "ann"}},
		"ops":   {{Seq: 1, Time: at(20), Kind: "message", From: "ann"}},
		"empty": {},
	})
	for _, events := range []bool{false, true} {
		caps := historyCaps
		if events {
			caps = append(slices.Clone(caps), "draft/event-playback")
		}
		c := s.login(fmt.Sprint("ann", events), caps...)
		c.send("JOIN #lobby,#dev,#ops,#empty")
		c.sync()
		targets := func(from, to, n int) (all string) {
			c.send(fmt.Sprintf("CHATHISTORY TARGETS timestamp=%s timestamp=%s %d", appendServerTime(nil, at(from)), appendServerTime(nil, at(to)), n))
			for _, l := range c.sync() {
				m, _ := ParseMessage([]byte(l))
				if m.Command == "CHATHISTORY" {
					ms, err := parseServerTime(m.Param(2))
					if err != nil || m.Param(0) != "TARGETS" {
						t.Error(l)
					}
					all += fmt.Sprint(m.Param(1), " ", ms.Sub(at(0)).Milliseconds(), " ")
				}
			}
			return all
		}
		lobby := map[bool]string{false: "#lobby 1 ", true: "#lobby 30 "}[events]
		for _, k := range []struct {
			from, to, n int
			want        string
		}{
			{0, 100, 10, map[bool]string{false: "#lobby 1 #dev 20 #ops 20 ", true: "#dev 20 #ops 20 #lobby 30 "}[events]},
			{100, 0, 10, map[bool]string{false: "#ops 20 #dev 20 #lobby 1 ", true: "#lobby 30 #ops 20 #dev 20 "}[events]},
			{10, 25, 1, "#dev 20 #ops 20 "}, {20, 30, 10, ""}, {30, 20, 10, ""}, {0, 2, 10, strings.TrimPrefix(lobby, "#lobby 30 ")},
		} {
			if got := targets(k.from, k.to, k.n); got != k.want {
				t.Errorf("%d to %d: %q, want %q", k.from, k.to, got, k.want)
			}
		}
	}
}

// What is read of the history is charged, as for /history.
func TestHistoryCosts(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.LinesPerSecond, o.Burst = 20, 8 })
	s.importLines(map[string][]pastLine{"lobby": pastLines(rand.New(rand.NewPCG(1, 3)), 500)})
	c := s.login("ann", append(historyCaps, "draft/event-playback")...)
	c.send("JOIN #lobby")
	c.sync()
	const n = 20
	began := time.Now()
	for range n {
		if seqs, _ := c.history("LATEST #lobby * 100"); len(seqs) < 100 {
			t.Fatal(len(seqs), "lines")
		}
	}
	// Each costs a line and 100/256. Without the latter it would take at least 600 ms.
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("%d requests took %v", n, took)
	}
}
