package admin_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Operators give every command of the socket, all at once, while members come and
// speak: under the race detector. None meets a fault of the server, and doctor finds
// none on the way.
func TestCommandsAtOnce(t *testing.T) {
	s := startShell(t)
	s.ok("create kept")
	const workers, steps = 4, 50
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(w)))
			c, err := net.Dial("unix", s.socket)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			in := bufio.NewReader(c)
			for range steps {
				line := commandOf(random)
				answer, verdict, err := asked(c, in, line)
				switch {
				case err != nil:
					t.Error(line, err)
					return
				case strings.HasPrefix(verdict, "ERR internal"), strings.Contains(answer, "cannot be trusted"):
					t.Errorf("%s: %s%s", line, answer, verdict)
				}
			}
		})
	}
	all.Go(func() {
		random := rand.New(rand.NewPCG(4, 4))
		for range steps {
			name := "kept"
			if random.IntN(2) == 0 {
				name = roomOf(random)
			}
			r, err := s.Service.Room(name)
			if err != nil {
				continue
			}
			if c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", r.Port)); err == nil {
				c.SetDeadline(time.Now().Add(patience))
				io.WriteString(c, "hello\n/quit\n")
				io.Copy(io.Discard, c)
				c.Close()
			}
		}
	})
	all.Wait()
	if s.Service.Counters().Lines == 0 {
		t.Error("nobody spoke")
	}
}

// asked gives a command and reads its answer.
func asked(c net.Conn, in *bufio.Reader, line string) (answer, verdict string, err error) {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", "", err
	}
	for {
		l, err := in.ReadString('\n')
		if err != nil || !strings.HasPrefix(l, " ") {
			return answer, l, err
		}
		answer += l
	}
}

// roomOf is one of a few rooms, so that operators meet.
func roomOf(random *rand.Rand) string { return fmt.Sprint("room-", random.IntN(4)) }

// commandOf is any command line but those that go on.
func commandOf(random *rand.Rand) string {
	room, other := roomOf(random), roomOf(random)
	lines := []string{
		"create " + room, "create " + room, "create " + room, "delete --yes " + room, "delete --yes " + room, "restore " + room, "restore " + room,
		"delete --yes --purge " + room, "purge --yes " + room, "delete --yes --in 1h " + room, "delete --yes --in 1ms " + room, "delete --cancel " + room,
		"stop --yes --in 1h", "stop --cancel", "stop --dry-run",
		"rename " + room + " " + other, "topic " + room + " a topic", "topic " + room, "set --yes " + room + " replay 5", "set --yes " + room + " lines 1", "set " + room,
		"rebind " + room, "say " + room + " hello", "announce hello", "kick --yes guest-1", "ban --yes --for 1s guest-1 --nick-only", "mute guest-1", "unmute guest-1",
		"bans", "unban 1", "members", "members " + room, "who guest-1", "rooms", "room " + room, "ports", "status", "read " + room, "search * o", "trash", "doctor",
		"config", "reload", "reload --dry-run", "loglevel info", "audit", "version", "help", "complete 'room r'", "backup --files= /none/x.db", "reopen", "upgrade --dry-run",
	}
	return lines[random.IntN(len(lines))]
}
