package admin_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/store"
)

// fill gives a room that many lines, between two runs of the server.
func (s *shell) fill(room string, lines int) {
	s.T.Helper()
	s.Stop()
	st, err := store.Open(filepath.Join(s.dir, "roomd.db"), store.Options{})
	if err != nil {
		s.T.Fatal(err)
	}
	st.Start(store.Follower{})
	var in strings.Builder
	fmt.Fprintf(&in, `{"room":{"name":"%s","port":%d},"last":%d}`+"\n", room, s.Options.Ports[1], lines)
	for i := range lines {
		fmt.Fprintf(&in, `{"seq":%d,"time":"2026-11-23T12:00:00Z","kind":"message","from":"ann","text":"hay %d %s"}`+"\n", i+1, i, strings.Repeat("x", 60))
	}
	if _, _, err := st.Import(strings.NewReader(in.String()), func(name string) (string, error) { return name, nil }, nil, nil); err != nil {
		s.T.Fatal(err)
	}
	if err := st.Close(); err != nil {
		s.T.Fatal(err)
	}
	s.Start()
}

// ask sends a line to the socket.
func (s *shell) ask(line string) *net.UnixConn {
	s.T.Helper()
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		s.T.Fatal(err)
	}
	return c.(*net.UnixConn)
}

// searching begins searches, and returns once the first page is read.
func (s *shell) searching(n int) (all []*net.UnixConn) {
	s.T.Helper()
	before := s.Service.Counters().Pages
	for range n {
		all = append(all, s.ask("search big needle"))
	}
	for end := time.Now().Add(patience); s.Service.Counters().Pages == before; {
		if time.Now().After(end) {
			s.T.Fatal("nobody searches")
		}
		<-time.After(time.Millisecond)
	}
	return all
}

// A search ends when its asker is gone, but not when the asker has only closed its
// own side; and all searches end when the server stops.
func TestSearchEndsWithItsAsker(t *testing.T) {
	s := startShell(t)
	s.fill("big", 40_000)
	pages := func() uint64 { return s.Service.Counters().Pages }

	whole := s.ask("search big 'hay 7777 '")
	whole.CloseWrite()
	answer, err := io.ReadAll(whole)
	if err != nil || !strings.Contains(string(answer), "hay 7777 ") || !strings.HasSuffix(string(answer), "\nOK\n") {
		t.Fatalf("%q, %v", answer, err)
	}
	each := pages()
	if each < 100 {
		t.Fatalf("a search reads only %d pages", each)
	}

	const leavers = 8
	for _, c := range s.searching(leavers) {
		c.Close()
	}
	// They have the same turns as one that stays.
	s.ok("search big hay")
	if n := pages() - each; n > 3*each {
		t.Errorf("one search reads %d pages; %d of which all but one left read %d", each, leavers+1, n)
	}

	const under = 40
	before := pages()
	waiting := s.searching(under)
	s.Service.Stop()
	if n := pages() - before; n > under*each/2 {
		t.Errorf("%d searches read %d of %d pages while the server stops", under, n, under*each)
	}
	ended := 0
	for _, c := range waiting {
		l, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(l, "ERR shutting-down ") || strings.HasPrefix(l, "ERR no-room ") { // as the room is closing
			ended++
		}
	}
	if ended < under/2 {
		t.Errorf("of %d searches under way %d were ended", under, ended)
	}
	if n := pages() - before; n > under*each/2 {
		t.Errorf("%d searches read %d of %d pages when the server stops", under, n, under*each)
	}
}
