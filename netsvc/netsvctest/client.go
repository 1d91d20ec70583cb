package netsvctest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen. It is long, because machines may be slow.
const Patience = 20 * time.Second

// Client is a client of a room's port or of the master port: it writes lines and reads lines. A line
// that does not come within Patience fails the test.
type Client struct {
	T    testing.TB
	Conn interface {
		net.Conn
		CloseWrite() error
	}
	TCP *net.TCPConn // Conn, or what is beneath
	In  *bufio.Reader
}

// Dial connects to a port of 127.0.0.1. The connection is closed when the test ends.
func Dial(t testing.TB, port int) *Client {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return NewClient(t, c.(*net.TCPConn))
}

// NewClient is a client over a connection, which the caller closes.
func NewClient(t testing.TB, c *net.TCPConn) *Client {
	return &Client{T: t, Conn: c, TCP: c, In: bufio.NewReader(c)}
}

// Join connects to a room. The client sends itself a private message, so that the room announces it
// at once.
func Join(t testing.TB, port int) *Client {
	t.Helper()
	c := Dial(t, port)
	hello := c.Line()
	_, nick, _ := strings.Cut(hello, "you are ")
	nick, _, _ = strings.Cut(nick, " ")
	if !strings.Contains(hello, "here, you are ") {
		t.Fatalf("greeted with %q", hello)
	}
	c.Send("/msg " + nick + " here")
	c.Until("<" + nick + " -> " + nick + "> here")
	return c
}

// Send sends lines.
func (c *Client) Send(lines ...string) {
	c.T.Helper()
	c.Conn.SetWriteDeadline(time.Now().Add(Patience))
	if _, err := io.WriteString(c.Conn, strings.Join(lines, "\n")+"\n"); err != nil {
		c.T.Fatal(err)
	}
}

// Line reads the next line.
func (c *Client) Line() string {
	c.T.Helper()
	l, err := c.Next()
	if err != nil {
		c.T.Fatalf("reading a line: %v (%q)", err, l)
	}
	return l
}

// Next is Line, but returns its error.
func (c *Client) Next() (string, error) {
	c.Conn.SetReadDeadline(time.Now().Add(Patience))
	l, err := c.In.ReadString('\n')
	return strings.TrimSuffix(l, "\n"), err
}

// Expect reads the next lines, which must be these.
func (c *Client) Expect(want ...string) {
	c.T.Helper()
	for _, w := range want {
		if got := c.Line(); got != w {
			c.T.Fatalf("got  %q\nwant %q", got, w)
		}
	}
}

// ExpectErrors reads the next lines, which are errors of the master port with these codes.
func (c *Client) ExpectErrors(codes ...string) {
	c.T.Helper()
	for _, code := range codes {
		if got := c.Line(); !strings.HasPrefix(got, "ERR "+code+" ") {
			c.T.Fatalf("got %q, and not the code %s", got, code)
		}
	}
}

// Until reads until a line with that prefix, and returns the line.
func (c *Client) Until(prefix string) string {
	c.T.Helper()
	for {
		if l := c.Line(); strings.HasPrefix(l, prefix) {
			return l
		}
	}
}

// End expects the end of the input, and no reset.
func (c *Client) End() {
	c.T.Helper()
	if l, err := c.Next(); err != io.EOF {
		c.T.Fatalf("the connection goes on: %q, %v", l, err)
	}
}

// HalfClose closes the sending side.
func (c *Client) HalfClose() { c.Conn.CloseWrite() }

// Reset breaks the connection.
func (c *Client) Reset() {
	c.TCP.SetLinger(0)
	c.TCP.Close()
}

// Eventually waits until ok reports true.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(Patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}
