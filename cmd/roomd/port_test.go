package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// forward leads connections to one address to another one, like a mapped port.
func forward(t *testing.T, from, to string) {
	t.Helper()
	ln, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-over })
	go func() {
		defer close(over)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer d.Close()
				go func() {
					io.Copy(d, c)
					d.(*net.TCPConn).CloseWrite()
				}()
				io.Copy(c, d)
			}()
		}
	}()
}

// Every command that is pointed at a room's port fails, says what it is, and
// leaves nothing in the room.
func TestCommandsAtARoomsPort(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	if _, errs, status := p.does("", "create", "den", "--password", "secret"); status != 0 {
		t.Fatal(errs)
	}
	for port := p.first; port <= p.first+1; port++ {
		for _, args := range []string{"list", "list lobby", "create dev", "delete lobby --yes", "send lobby hello", "tail lobby --follow=false", "chat lobby"} {
			var out, errs bytes.Buffer
			args += fmt.Sprintf(" --server 127.0.0.1:%d", port)
			if status := run(strings.Split(args, " "), strings.NewReader("hello\n"), &out, &errs); status != exitFailed || !strings.Contains(errs.String(), "name the server's master port") {
				t.Errorf("%s: %d %q %q", args, status, out.String(), errs.String())
			}
		}
	}
	if texts := p.texts("lobby"); len(texts) != 0 {
		t.Errorf("the room has heard %q", texts)
	}
}

// A server whose rooms' ports lead into another server's rooms: nothing is sent,
// nothing is printed, and the status says so.
func TestCommandsInAnotherRoom(t *testing.T) {
	other := newProcess(t, `server.create = ["bar"]`)
	other.start()
	p := newProcess(t, `server.create = ["foo"]`)
	forward(t, fmt.Sprintf("127.0.0.1:%d", p.first), fmt.Sprintf("127.0.0.1:%d", other.first))
	master := p.standIn("foo")
	for _, args := range []string{"send foo hello", "tail foo --follow=false", "chat foo"} {
		var out, errs bytes.Buffer
		status := run(strings.Split(args+" --server "+master, " "), strings.NewReader("hello\n"), &out, &errs)
		if status != exitFailed || !strings.Contains(errs.String(), "the port of the room bar") {
			t.Errorf("%s: %d %q %q", args, status, out.String(), errs.String())
		}
	}
	if texts := other.texts("bar"); len(texts) != 0 {
		t.Errorf("the other room has heard %q", texts)
	}
}

// standIn is a master port that knows a room of this process, which is not
// running, and answers nothing else.
func (p *process) standIn(room string) (addr string) {
	p.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	over := make(chan struct{})
	p.t.Cleanup(func() { ln.Close(); <-over })
	go func() {
		defer close(over)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			line := make([]byte, 100)
			n, _ := c.Read(line)
			answer := "ERR bad-request there is no such request\n"
			if strings.HasPrefix(string(line[:n]), "JOIN ") {
				answer = fmt.Sprintf("OK %s %d 0\n", room, p.first)
			}
			io.WriteString(c, answer)
			c.Close()
		}
	}()
	return ln.Addr().String()
}
