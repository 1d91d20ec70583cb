package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/netsvc/client"
)

func TestMaster(t *testing.T) {
	s := newServer(t)
	c := s.dial(nil)
	ctx := soon(t)
	made, err := c.Create(ctx, "Lobby", "")
	if err != nil || made.Name != "Lobby" || made.Port == 0 || made.Key == "" {
		t.Fatal(made, err)
	}
	var refusal *client.Error
	if _, err := c.Create(ctx, "lobby", ""); !errors.As(err, &refusal) || refusal.Code != "exists" {
		t.Fatal(err)
	}
	if _, err := c.Create(ctx, "dev", ""); err != nil {
		t.Fatal(err)
	}
	if all, err := c.List(ctx, ""); err != nil || len(all) != 2 || all[1].Name != "Lobby" {
		t.Fatal(all, err)
	}
	if one, err := c.List(ctx, "lobby"); err != nil || len(one) != 1 || one[0].Port != made.Port {
		t.Fatal(one, err)
	}
	r := join(t, c, "lobby", client.JoinOptions{Nick: "ann"})
	if r.Name() != "Lobby" || r.Nick() != "ann" {
		t.Fatal(r.Name(), r.Nick())
	}
	if _, err := r.SetTopic(ctx, "lunch at noon"); err != nil {
		t.Fatal(err)
	}
	if one, err := c.List(ctx, "l*"); err != nil || len(one) != 1 || one[0].Topic != "lunch at noon" || one[0].Members != 1 {
		t.Fatal(one, err)
	}
	if err := c.Delete(ctx, "lobby", ""); err != nil {
		t.Fatal(err)
	}
	next(t, r, client.Deleted)
	if _, err := r.Next(ctx); err != client.ErrDeleted || r.Err() != client.ErrDeleted {
		t.Fatal(err)
	}
	if _, err := r.Send(ctx, "anybody?"); err != client.ErrDeleted {
		t.Fatal(err)
	}
	if _, err := c.Join(ctx, "lobby", client.JoinOptions{}); !errors.As(err, &refusal) || refusal.Code != "no-room" {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, "two words", ""); !errors.As(err, &refusal) || refusal.Code != "bad-request" {
		t.Fatal(err)
	}
}

func TestRoom(t *testing.T) {
	s := newServer(t)
	s.Create("lobby")
	c, ctx := s.dial(nil), soon(t)
	ann := join(t, c, "lobby", client.JoinOptions{Nick: "ann"})
	bob := join(t, c, "lobby", client.JoinOptions{Nick: "bob"})
	var refusal *client.Error
	if _, err := c.Join(ctx, "lobby", client.JoinOptions{Nick: "ANN"}); !errors.As(err, &refusal) || refusal.Code != "exists" {
		t.Fatal(err)
	}
	seq := uint64(0)
	for _, text := range []string{"hello", "/quit", "//", "  kept  ", "tab\tand \x1b[31m", "not \xff\xfe UTF-8\r", "hello", "hello"} {
		n, err := ann.Send(ctx, text)
		if err != nil || n <= seq {
			t.Fatal(text, n, err)
		}
		seq = n
		want := strings.TrimSuffix(strings.NewReplacer("\x1b", "\ufffd", "\xff", "\ufffd", "\xfe", "\ufffd").Replace(text), "\r")
		ev := next(t, bob, client.Message)
		if ev.Text != want || ev.From != "ann" || ev.Seq != n || ev.Own || ev.Time.IsZero() {
			t.Fatalf("%+v", ev)
		}
		if ev := next(t, ann, client.Message); ev.Seq != n || !ev.Own {
			t.Fatalf("%+v", ev)
		}
	}
	if _, err := ann.Send(ctx, " \t\u3000"); err != client.ErrBlank {
		t.Fatal(err)
	}
	if _, err := ann.Send(ctx, "a\nb"); err != client.ErrMultiline {
		t.Fatal(err)
	}
	if _, err := ann.Send(ctx, strings.Repeat("x", 5000)); !errors.As(err, &refusal) || refusal.Code != "too-long" {
		t.Fatal(err)
	}
	if err := ann.SendPrivate(ctx, "bob", strings.Repeat("x", 5000)); !errors.As(err, &refusal) || refusal.Code != "too-long" {
		t.Fatal(err)
	}
	if _, err := ann.SendAction(ctx, "waves"); err != nil {
		t.Fatal(err)
	}
	if ev := next(t, bob, client.Action); ev.Text != "waves" {
		t.Fatal(ev)
	}
	if _, err := ann.SendNotice(ctx, " the build is green "); err != nil {
		t.Fatal(err)
	}
	if ev := next(t, bob, client.Message); ev.Text != "the build is green" || !ev.Notice {
		t.Fatal(ev)
	}
	if _, err := ann.SendNotice(ctx, strings.Repeat("x", 5000)); !errors.As(err, &refusal) || refusal.Code != "too-long" {
		t.Fatal(err)
	}
	if err := ann.SendPrivate(ctx, "bob", "psst"); err != nil {
		t.Fatal(err)
	}
	if ev := next(t, bob, client.Private); ev.Text != "psst" || ev.To != "bob" || ev.From != "ann" {
		t.Fatal(ev)
	}
	if err := ann.SendPrivate(ctx, "carl", "psst"); !errors.As(err, &refusal) || refusal.Code != "no-member" {
		t.Fatal(err)
	}
	if err := ann.Rename(ctx, "bob"); !errors.As(err, &refusal) || refusal.Code != "exists" || ann.Nick() != "ann" {
		t.Fatal(err)
	}
	if err := ann.Rename(ctx, "Anna"); err != nil || ann.Nick() != "Anna" {
		t.Fatal(err)
	}
	if ev := next(t, bob, client.Nick); ev.From != "ann" || ev.Nick != "Anna" {
		t.Fatal(ev)
	}
	if _, err := ann.Send(ctx, "as Anna"); err != nil {
		t.Fatal(err)
	}
	members, err := bob.Members(ctx)
	if err != nil || len(members) != 2 || members[0].Nick != "Anna" || members[1].Nick != "bob" {
		t.Fatal(members, err)
	}
	old, err := bob.History(ctx, 4)
	if err != nil || len(old) != 4 || old[3].Text != "as Anna" || !old[2].Notice || old[0].Text != "hello" {
		t.Fatal(old, err)
	}
	next(t, bob, client.Message) // history is no event
	page, err := bob.Before(ctx, old[3].Seq, 2)
	if err != nil || len(page) != 2 || page[0].Seq != old[1].Seq || page[1].Seq != old[2].Seq {
		t.Fatal(page, err)
	}
	if page, err = bob.Before(ctx, 1, 2); err != nil || len(page) != 0 {
		t.Fatal(page, err)
	}
	found, err := bob.Search(ctx, " ANNA")
	if err != nil || len(found) != 1 || found[0].Text != "as Anna" || found[0].Seq != old[3].Seq {
		t.Fatal(found, err)
	}
	if found, err = bob.Search(ctx, "GREEN"); err != nil || len(found) != 1 || !found[0].Notice {
		t.Fatal(found, err)
	}
	if found, err = bob.Search(ctx, "\x1b[2J"); err != nil || len(found) != 0 {
		t.Fatal(found, err)
	}
	if _, err := bob.Search(ctx, " "); err != client.ErrBlank {
		t.Fatal(err)
	}
	if _, err := bob.Search(ctx, strings.Repeat("x", 5000)); !errors.As(err, &refusal) || refusal.Code != "too-long" {
		t.Fatal(err)
	}
	if err := ann.Close(); err != nil || ann.Err() != client.ErrClosed {
		t.Fatal(err)
	}
	if _, err := ann.Send(ctx, "late"); err != client.ErrClosed {
		t.Fatal(err)
	}
	next(t, bob, client.Leave)
}

// A stream begins where From says.
func TestFrom(t *testing.T) {
	s := newServer(t)
	s.Create("lobby")
	c, ctx := s.dial(nil), soon(t)
	ann := join(t, c, "lobby", client.JoinOptions{})
	var seqs []uint64
	for i := range 30 {
		n, err := ann.Send(ctx, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, n)
	}
	for _, from := range []struct {
		from  client.From
		first int
	}{{client.From{}, 30}, {client.Newest(5), 25}, {client.After(seqs[9]), 10}, {client.After(0), 0}, {client.Newest(1000), 0}} {
		r := join(t, c, "lobby", client.JoinOptions{From: from.from})
		for i := from.first; i < 30; i++ {
			if ev := next(t, r, client.Message, client.Live); ev.Text != fmt.Sprint(i) {
				t.Fatalf("%v: %v, want %d", from, ev, i)
			}
		}
		if ev := next(t, r, client.Message, client.Live); ev.Type != client.Live || ev.Count != 30-from.first {
			t.Fatalf("%v: %v", from, ev)
		}
		r.Close()
	}
	// The history has not come as far.
	r := join(t, c, "lobby", client.JoinOptions{From: client.After(1 << 40)})
	next(t, r, client.Gap)
	n, err := ann.Send(ctx, "on")
	if ev := next(t, r, client.Message); err != nil || ev.Seq != n {
		t.Fatal(ev, err)
	}
}

// A member that an operator kicks learns so by a code.
func TestKicked(t *testing.T) {
	s := newServer(t)
	s.Create("lobby")
	ann := join(t, s.dial(nil), "lobby", client.JoinOptions{Nick: "ann"})
	next(t, ann, client.Live)
	here := s.Service.FindMembers("ann")
	if len(here) != 1 {
		t.Fatal(here)
	}
	if n, err := s.Service.Kick([]uint64{here[0].ID}, "enough"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if ev := next(t, ann, client.Notice); ev.Code != client.Kicked || ev.Text != "lobby: enough" {
		t.Errorf("%+v", ev)
	}
	if ev := next(t, ann, client.Offline); ev.Code != client.Kicked || ev.Text != "enough" {
		t.Errorf("%+v", ev)
	}
	if err := ann.Err(); err != nil {
		t.Error("a program may go back:", err)
	}
}

// The server restarts under a reader and a writer.
func TestRestart(t *testing.T) {
	s := newServer(t)
	s.Create("lobby")
	c, ctx := s.dial(nil), soon(t)
	ann := join(t, c, "lobby", client.JoinOptions{Nick: "ann"})
	bob := join(t, c, "lobby", client.JoinOptions{Nick: "bob"})
	for round := range 3 {
		if _, err := ann.Send(ctx, fmt.Sprint("before ", round)); err != nil {
			t.Fatal(err)
		}
		s.Stop()
		if ev := next(t, bob, client.Offline); !strings.Contains(ev.Text, "the server is stopping") {
			t.Fatal(ev)
		}
		l, err := ann.Post(ctx, fmt.Sprint("while away ", round))
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		next(t, bob, client.Online)
		next(t, bob, client.Live)
		if _, err := l.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var texts []string
	for _, ev := range s.history("lobby") {
		texts = append(texts, ev.Text)
	}
	want := "before 0,while away 0,before 1,while away 1,before 2,while away 2"
	if got := strings.Join(texts, ","); got != want {
		t.Fatal(got)
	}
}

// Connections are cut often, in the middle of lines, while two members send: every line is in
// the room once, in order, and a third member reads each once. Many lines are equal. The server knows
// IDs of lines, or seems to know none, or is another one each time.
func TestCut(t *testing.T) {
	for name, older := range map[string]func() bool{
		"ids": nil, "older": func() bool { return true }, "both": func() bool { return rand.IntN(2) == 0 },
	} {
		t.Run(name, func(t *testing.T) { testCut(t, &wire{older: older}) })
	}
}

func testCut(t *testing.T, w *wire) {
	lines, most := 700, 10
	if os.Getenv("ROOMD_SOAK") != "" {
		lines, most = 20000, 100
	}
	s := newServer(t)
	s.Create("lobby")
	c := s.dial(w)
	ctx, cancel := context.WithTimeout(context.Background(), 15*patience)
	defer cancel()
	ear := join(t, c, "lobby", client.JoinOptions{})
	done := make(chan error, 2)
	for _, nick := range []string{"ann", ""} {
		r := join(t, c, "lobby", client.JoinOptions{Nick: nick})
		go func() {
			var receipts []*client.Receipt
			for i := range lines {
				l, err := r.Post(ctx, fmt.Sprint(i/3, strings.Repeat(" é", i%500))) // thirds are alike at times
				if err != nil {
					done <- err
					return
				}
				receipts = append(receipts, l)
			}
			last := uint64(0)
			for _, l := range receipts {
				seq, err := l.Wait(ctx)
				if err != nil || seq <= last {
					done <- fmt.Errorf("%d after %d: %w", seq, last, err)
					return
				}
				last = seq
			}
			done <- nil
		}()
	}
	heard := make(chan []client.Event, 1)
	go func() {
		var all []client.Event
		for ev := range ear.Events(ctx) {
			if ev.Stored() {
				if all = append(all, ev); len(all) == 2*lines {
					break
				}
			}
		}
		heard <- all
	}()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	cuts := 0
	for left := 2; left > 0; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			left--
		case <-tick.C:
			if rand.IntN(4) == 0 && cuts < most {
				w.cut()
				cuts++
			}
		}
	}
	t.Log(cuts, "cuts")
	got := s.history("lobby")
	all := <-heard
	if len(got) != 2*lines || len(all) != len(got) {
		t.Fatalf("%d lines, %d heard", len(got), len(all))
	}
	n := map[string]int{}
	for i, ev := range got {
		if all[i].Seq != ev.Seq || all[i].Text != ev.Text {
			t.Fatalf("heard %v, not %v", all[i], ev)
		}
		k := n[ev.From]
		if want := fmt.Sprint(k/3, strings.Repeat(" é", k%500)); ev.Text != want {
			t.Fatalf("line %d of %s is %q, not %q", k, ev.From, ev.Text, want)
		}
		n[ev.From]++
	}
}

// Another member has the nick when the member comes back.
func TestNickTaken(t *testing.T) {
	s := newServer(t)
	s.Create("lobby")
	w := new(wire)
	c, ctx := s.dial(w), soon(t)
	ann := join(t, c, "lobby", client.JoinOptions{Nick: "ann"})
	if _, err := ann.Send(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	next(t, ann, client.Offline)
	l, err := ann.Post(ctx, "two")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(ctx)
	m, err := ann.Post(ctx, "never")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := m.Wait(short); err != context.Canceled {
		t.Fatal(err)
	}
	other := make(chan *client.Room, 1)
	go func() {
		// It is faster than ann, whose pauses grow.
		for ctx.Err() == nil {
			c, err := client.Dial(ctx, s.addr(), client.Options{})
			if err != nil {
				continue
			}
			if r, err := c.Join(ctx, "lobby", client.JoinOptions{Nick: "ann"}); err == nil {
				other <- r
				return
			}
			if r, err := c.Join(ctx, "lobby", client.JoinOptions{}); err == nil {
				r.Close()
			}
		}
		other <- nil
	}()
	s.Start()
	r := <-other
	if r == nil {
		t.Skip("ann was faster")
	}
	defer r.Close()
	next(t, ann, client.Notice)
	select {
	case <-l.Done():
		t.Fatal("sent under another nick")
	default:
	}
	r.Close()
	if _, err := l.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	got := s.history("lobby")
	if len(got) != 2 || got[1].Text != "two" || got[1].From != "ann" {
		t.Fatal(got)
	}
}

// hole is a network that may lose what is written, and be gone for a while.
type hole struct {
	mu        sync.Mutex
	conn      net.Conn
	swallowed chan struct{} // not nil: bytes are lost; closed at the first ones
	gone      chan struct{} // not nil: connecting waits until it is closed
}

func (h *hole) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	h.mu.Lock()
	gone := h.gone
	h.mu.Unlock()
	if gone != nil {
		select {
		case <-gone:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conn = c
	return &holeConn{c, h}, err
}

// breaks loses the next line, which say sends, and then the connection. back ends that.
func (h *hole) breaks(say func()) (back func()) {
	lost, gone := make(chan struct{}), make(chan struct{})
	h.mu.Lock()
	h.swallowed, h.gone = lost, gone
	h.mu.Unlock()
	say()
	<-lost
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conn.Close()
	h.swallowed = nil
	return func() { close(gone) }
}

type holeConn struct {
	net.Conn
	h *hole
}

func (c *holeConn) Write(p []byte) (int, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.h.swallowed != nil {
		select {
		case <-c.h.swallowed:
		default:
			close(c.h.swallowed)
		}
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// impostor is what a member meets whose connection breaks while its line "two" is under way: another
// member has its nick.
func impostor(t *testing.T) (s *server, ann *client.Room, l *client.Receipt, other *client.Room, back func()) {
	s = newServer(t)
	s.Create("lobby")
	ctx, h := soon(t), new(hole)
	c, err := client.Dial(ctx, s.addr(), client.Options{Dialer: h})
	if err != nil {
		t.Fatal(err)
	}
	ann = join(t, c, "lobby", client.JoinOptions{Nick: "ann"})
	if _, err := ann.Send(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	next(t, ann, client.Live)
	back = h.breaks(func() {
		if l, err = ann.Post(ctx, "two"); err != nil {
			t.Fatal(err)
		}
	})
	next(t, ann, client.Offline)
	eventually(t, "the nick to be free", func() bool {
		other, err = s.dial(nil).Join(ctx, "lobby", client.JoinOptions{Nick: "ann"})
		return err == nil
	})
	return s, ann, l, other, back
}

// The other member says the very line whose outcome is unknown, and leaves. The member's own line is in
// the room all the same.
func TestImpostor(t *testing.T) {
	s, _, l, other, back := impostor(t)
	theirs, err := other.Send(soon(t), "two")
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	back()
	ours, err := l.Wait(soon(t))
	if err != nil || ours <= theirs {
		t.Errorf("our line is %d, theirs %d: %v", ours, theirs, err)
	}
	if got := s.history("lobby"); len(got) != 3 || got[2].Seq != ours || got[2].Text != "two" {
		t.Error(got)
	}
}

// The member takes another nick while the outcome of its line is unknown: the ID tells it.
func TestRenameKeepsOutcome(t *testing.T) {
	s, ann, l, other, back := impostor(t)
	defer other.Close()
	back()
	next(t, ann, client.Notice) // it waits for its nick
	if err := ann.Rename(soon(t), "anna"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Wait(soon(t)); err != nil {
		t.Fatal(err)
	}
	if got := s.history("lobby"); len(got) != 2 || got[1].From != "anna" || got[1].Text != "two" {
		t.Error(got)
	}
}

// One member sends and never reads, one reads only between sending, and one reads late: none
// of them blocks, and no line is lost.
func TestSlowReader(t *testing.T) {
	lines := 5000
	s := newServer(t)
	s.Create("lobby")
	c := s.dial(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	late := join(t, c, "lobby", client.JoinOptions{})
	echo := join(t, c, "lobby", client.JoinOptions{Nick: "echo"})
	mouth := join(t, c, "lobby", client.JoinOptions{Nick: "mouth"})
	go func() {
		for i := range lines {
			if _, err := mouth.Post(ctx, fmt.Sprint(i)); err != nil {
				return
			}
		}
	}()
	for i := 0; i < lines; i++ {
		ev := next(t, echo, client.Message)
		if ev.Own {
			i--
			continue
		}
		if ev.Text != fmt.Sprint(i) {
			t.Fatalf("%v, not %d", ev, i)
		}
		if i%50 == 0 {
			if _, err := echo.Send(ctx, "heard "+ev.Text); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := s.history("lobby")
	for _, w := range want {
		if ev := next(t, late, client.Message); ev.Seq != w.Seq {
			t.Fatalf("%v, not %v", ev, w)
		}
	}
}

// A room has a password, and another one when the member comes back.
func TestPassword(t *testing.T) {
	s := newServer(t)
	c, ctx := s.dial(nil), soon(t)
	if _, err := c.Create(ctx, "den", "secret"); err != nil {
		t.Fatal(err)
	}
	s.Create("lobby")
	var refusal *client.Error
	for _, password := range []string{"", "wrong"} {
		if _, err := c.Join(ctx, "den", client.JoinOptions{Password: password}); !errors.As(err, &refusal) || refusal.Code != "denied" {
			t.Fatal(password, err)
		}
	}
	// After a wrong password the next one has to wait.
	var ann *client.Room
	eventually(t, "the right password", func() bool {
		var err error
		ann, err = c.Join(ctx, "den", client.JoinOptions{Nick: "ann", Password: "secret"})
		return err == nil
	})
	defer ann.Close()
	if _, err := ann.Send(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Start()
	next(t, ann, client.Online)
	if _, err := ann.Send(ctx, "hello again"); err != nil {
		t.Fatal(err)
	}
	// A room without a password ignores one.
	bob := join(t, c, "lobby", client.JoinOptions{Nick: "bob", Password: "secret"})
	if _, err := bob.Send(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
}
