package browsertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"

	"roomd/netsvc/client"
)

// tunnel stands between a browser and a server, as a network does.
type tunnel struct {
	port int

	mu    sync.Mutex
	still chan struct{} // closed: bytes pass
	down  bool          // connections are refused
	conns []net.Conn
}

// tunnel is a way to the server through a network that can break.
func (s *server) tunnel(t testing.TB) *tunnel {
	t.Helper()
	w := &tunnel{port: int(nextPort.Take(1)) - 1, still: make(chan struct{})}
	close(w.still)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", w.port))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
			w.mu.Lock()
			if w.down || err != nil {
				c.Close()
				if d != nil {
					d.Close()
				}
			} else {
				w.conns = append(w.conns, c, d)
				all.Go(func() { w.pass(c, d) })
				all.Go(func() { w.pass(d, c) })
			}
			w.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.hold(false)
		w.cut(true)
		all.Wait()
	})
	return w
}

func (w *tunnel) url(path string) string { return fmt.Sprintf("http://localhost:%d%s", w.port, path) }

// pass copies bytes while the network works.
func (w *tunnel) pass(to, from net.Conn) {
	defer to.Close()
	for b := make([]byte, 32<<10); ; {
		n, err := from.Read(b)
		w.mu.Lock()
		still := w.still
		w.mu.Unlock()
		<-still
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			if err != io.EOF {
				from.Close()
			}
			return
		}
	}
}

// hold keeps what is on its way, in both directions, and says nothing of it.
func (w *tunnel) hold(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.still:
		if is {
			w.still = make(chan struct{})
		}
	default:
		if !is {
			close(w.still)
		}
	}
}

// cut ends all connections and refuses new ones.
func (w *tunnel) cut(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down = is; is {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

// offline tells the browser that it has no network.
func (p *person) offline(is bool) {
	p.t.Helper()
	p.away(true)
	call(p, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: is, DownloadThroughput: -1, UploadThroughput: -1})
	p.away(is)
}

// exactly waits until the log shows these texts, in this order, each once.
func (p *person) exactly(pattern string, want []string) {
	p.t.Helper()
	await(p.t, func() string {
		if got := p.found(pattern); !slices.Equal(got, want) {
			return fmt.Sprintf("%q instead of %q", got, want)
		}
		return ""
	})
}

func numbered(name string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("%s-%03d.", name, i))
	}
	return all
}

// speaker is a member by the Go client, which counts what it hears.
type speaker struct {
	t    testing.TB
	room *client.Room
}

func (s *server) speaker(t testing.TB, room, nick string) *speaker {
	t.Helper()
	ctx, end := context.WithTimeout(t.Context(), 10*patience)
	t.Cleanup(end)
	c, err := client.Dial(ctx, fmt.Sprintf("127.0.0.1:%d", s.port), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Join(ctx, room, client.JoinOptions{Nick: nick, From: client.After(0)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &speaker{t, r}
}

// hears waits until somebody has said so many lines, and returns all.
func (s *speaker) hears(from string, n int) (texts []string) {
	s.t.Helper()
	ctx, end := context.WithTimeout(s.t.Context(), 8*patience)
	defer end()
	for ev := range s.room.Events(ctx) {
		if ev.Type == client.Message && ev.From == from {
			if texts = append(texts, ev.Text); len(texts) == n {
				break
			}
		}
	}
	return texts
}

// Half a minute without a network, once with connections that end and once with a network that only
// swallows everything: what was typed meanwhile waits in sight, and arrives once; what others said
// comes, once and in order.
func TestOffline(t *testing.T) {
	t.Parallel()
	const lines = 30
	length := 30 * time.Second
	if testing.Short() {
		length = 5 * time.Second
	}
	s := shared(t)
	for _, how := range []string{"cut", "hold"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			room := "offline-" + how
			s.create(room, "")
			w := s.tunnel(t)
			p := visit(t, w.url("/r/"+room))
			p.named("ann-" + how)
			bob := s.speaker(t, room, "bob")
			p.say("ann-000.")
			bob.hears("ann-"+how, 1)
			p.away(true)
			if how == "cut" {
				p.offline(true)
				w.cut(true)
			} else {
				w.hold(true)
			}
			away := time.NewTimer(length)
			for i, text := range numbered("ann", lines) {
				if i > 0 {
					p.say(text)
				}
			}
			for _, text := range numbered("bob", lines) {
				if _, err := bob.room.Send(t.Context(), text); err != nil {
					t.Fatal(err)
				}
			}
			// What waits is to be seen, and is not yet said.
			p.exactly(`ann-\d+\.`, numbered("ann", lines))
			<-away.C
			if how == "cut" {
				w.cut(false)
				p.offline(false)
				p.away(true)
			} else {
				w.hold(false)
			}
			if got := bob.hears("ann-"+how, lines-1); !slices.Equal(got, numbered("ann", lines)[1:]) {
				t.Errorf("arrived: %q", got)
			}
			p.exactly(`bob-\d+\.`, numbered("bob", lines))
			p.exactly(`ann-\d+\.`, numbered("ann", lines))
			// And nothing more comes of it.
			p.say("ann-end.")
			if got := bob.hears("ann-"+how, 1); !slices.Equal(got, []string{"ann-end."}) {
				t.Errorf("then arrived: %q", got)
			}
		})
	}
}

// The server is upgraded and killed while two members talk: no line is lost, and none comes twice.
func TestUpgradedAndKilled(t *testing.T) {
	t.Parallel()
	const lines, times = 150, 6
	s := serve(t, `server.create = ["lobby"]`)
	p := s.join(t, "lobby", "ann")
	p.away(true) // now and then
	bob := s.speaker(t, "lobby", "bob")
	var heard []string
	var talking sync.WaitGroup
	turn := make(chan struct{}, 2*lines)
	talking.Go(func() { heard = bob.hears("ann", lines) })
	talking.Go(func() {
		for _, text := range numbered("bob", lines) {
			if _, err := bob.room.Post(t.Context(), text); err != nil {
				t.Error(err)
				return
			}
			<-turn
		}
	})
	for i, text := range numbered("ann", lines) {
		if i%(lines/times) == lines/times/2 {
			if i/(lines/times)%2 == 0 {
				s.upgrade()
			} else {
				s.kill()
				p.say(text) // while nobody is there
				s.start()
				turn <- struct{}{}
				continue
			}
		}
		p.say(text)
		turn <- struct{}{}
	}
	talking.Wait()
	if want := numbered("ann", lines); !slices.Equal(heard, want) {
		t.Errorf("bob heard %q", heard)
	}
	p.exactly(`bob-\d+\.`, numbered("bob", lines))
	p.exactly(`ann-\d+\.`, numbered("ann", lines))
}
