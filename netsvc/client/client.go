package client

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options say how to connect to a server.
type Options struct {
	// TLS is used on every port if it is not nil. An empty ServerName means the host's name.
	TLS *tls.Config
	// Dialer makes the connections, for example through a proxy. nil: a net.Dialer.
	Dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	}
}

// Client makes requests to a server's master port. Each request has a connection of its own.
type Client struct {
	addr, host string
	options    Options
}

// maxRooms bounds a list of rooms: each room has a port.
const maxRooms = 1 << 16

// requestTime bounds a request. DELETE may wait 5 s for members that do not read.
const requestTime = 30 * time.Second

// Dial makes a Client for the server with its master port at addr ("host:port", or a host
// alone for port 8080), and checks that a master port answers. For the port of a room the
// error is an *Error of the code NotMaster; nothing is sent into that room.
func Dial(ctx context.Context, addr string, o Options) (*Client, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = strings.Trim(addr, "[]"), "8080"
	}
	c := &Client{net.JoinHostPort(host, port), host, o}
	// A room would take a request for a message. This is a command in a room, and an unknown
	// request at a master port.
	var refusal *Error
	_, _, err = c.request(ctx, "/help")
	if err != nil && (!errors.As(err, &refusal) || refusal.Code != BadRequest) {
		return nil, err
	}
	return c, nil
}

// Addr is the address of the master port.
func (c *Client) Addr() string { return c.addr }

// CreatedRoom is the answer to Create.
type CreatedRoom struct {
	Name string `json:"name"`
	Port int    `json:"port"`
	Key  string `json:"key"` // for Delete; the server does not show it again
}

// Create makes a room. With a password, members have to give it to join.
func (c *Client) Create(ctx context.Context, name, password string) (CreatedRoom, error) {
	words, _, err := c.request(ctx, "CREATE", name, password)
	if err != nil {
		return CreatedRoom{}, err
	}
	if len(words) < 3 {
		return CreatedRoom{}, c.unexpectedReply("OK " + strings.Join(words, " "))
	}
	port, err := strconv.Atoi(words[1])
	return CreatedRoom{words[0], port, words[2]}, err
}

// Delete deletes a room for all its members. key is the key that Create has returned, or ""
// where the server needs none.
func (c *Client) Delete(ctx context.Context, name, key string) error {
	_, _, err := c.request(ctx, "DELETE", name, key)
	return err
}

// RoomInfo is a room as List shows it.
type RoomInfo struct {
	Name    string `json:"name"`
	Port    int    `json:"port"`
	Members int    `json:"members"`
	Topic   string `json:"topic,omitempty"`
}

// List returns the rooms whose names match a pattern with * and ?, sorted by name. "" matches
// all rooms, and a name only itself, as the server compares names.
func (c *Client) List(ctx context.Context, pattern string) ([]RoomInfo, error) {
	if pattern == "" || strings.ContainsAny(pattern, "*?") {
		return c.list(ctx, pattern)
	}
	// LIST with a name answers all rooms if that room exists. The server knows how the name
	// is spelled: it is that of the room that begins so and is not longer.
	begin, err := c.list(ctx, pattern+"*")
	if err != nil || len(begin) == 0 {
		return begin, err
	}
	longer, err := c.list(ctx, pattern+"?*")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(begin, func(i RoomInfo) bool {
		return slices.ContainsFunc(longer, func(l RoomInfo) bool { return l.Name == i.Name })
	}), nil
}

// list makes the request LIST.
func (c *Client) list(ctx context.Context, pattern string) ([]RoomInfo, error) {
	_, lines, err := c.request(ctx, "LIST", pattern)
	if err != nil {
		return nil, err
	}
	infos := make([]RoomInfo, 0, len(lines))
	for _, l := range lines {
		f := strings.SplitN(l, " ", 4)
		if len(f) < 3 {
			return nil, c.unexpectedReply(l)
		}
		port, err1 := strconv.Atoi(f[1])
		members, err2 := strconv.Atoi(f[2])
		if err1 != nil || err2 != nil {
			return nil, c.unexpectedReply(l)
		}
		i := RoomInfo{Name: f[0], Port: port, Members: members}
		if len(f) == 4 {
			i.Topic = f[3]
		}
		infos = append(infos, i)
	}
	return infos, nil
}

// find returns the spelling of a room's name and its port.
func (c *Client) find(ctx context.Context, name string) (spelt string, port int, err error) {
	words, _, err := c.request(ctx, "JOIN", name)
	if err != nil {
		return "", 0, err
	}
	if len(words) < 2 {
		return "", 0, c.unexpectedReply("OK " + strings.Join(words, " "))
	}
	port, err = strconv.Atoi(words[1])
	return words[0], port, err
}

// request makes one request. It returns the words after OK, and the lines that follow it.
func (c *Client) request(ctx context.Context, verb string, args ...string) (words, lines []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	line := verb
	for _, a := range args {
		if strings.ContainsAny(a, " \t\r\n") {
			return nil, nil, &Error{Code: BadRequest, Text: fmt.Sprintf("%q contains white space; names, patterns, passwords and keys have none", a)}
		}
		if a != "" {
			line += " " + a
		}
	}
	conn, _, err := c.dial(ctx, c.addr)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return nil, nil, c.requestError(ctx, verb, err)
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	read := func() (string, error) {
		l, err := in.ReadSlice('\n')
		if err != nil && (len(l) > 0 || errors.Is(err, bufio.ErrBufferFull)) {
			return "", c.unexpectedReply(string(l[:min(len(l), 80)]))
		}
		return strings.TrimRight(string(l), "\r\n"), err
	}
	reply, err := read()
	if err != nil {
		return nil, nil, c.requestError(ctx, verb, err)
	}
	verdict, rest, _ := strings.Cut(reply, " ")
	switch verdict {
	case "*":
		return nil, nil, c.notMaster(rest)
	case "ERR":
		code, text, _ := strings.Cut(rest, " ")
		return nil, nil, &Error{Code: code, Text: cmp.Or(text, code)}
	case "OK":
	default:
		return nil, nil, c.unexpectedReply(reply)
	}
	words = strings.Fields(rest)
	if verb != "LIST" && verb != "HELP" {
		return words, nil, nil
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n > maxRooms {
		return nil, nil, c.unexpectedReply(reply)
	}
	for range n {
		l, err := read()
		if err != nil {
			return nil, nil, c.requestError(ctx, verb, err)
		}
		lines = append(lines, l)
	}
	return words, lines, nil
}

func (c *Client) unexpectedReply(reply string) error {
	return &Error{Code: NotRoomd, Text: fmt.Sprintf("%s does not speak as a roomd server: %q", c.addr, reply)}
}

func (c *Client) requestError(ctx context.Context, verb string, err error) error {
	switch {
	case context.Cause(ctx) != nil:
		err = context.Cause(ctx)
	case errors.Is(err, io.EOF):
		err = errServerClosed
	}
	return fmt.Errorf("%s at %s: %w", verb, c.addr, err)
}

// keepAlive detects within 30 s that an idle server has vanished.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// dialTime bounds the time until a connection is made.
const dialTime = 15 * time.Second

// dial makes a connection. raw is the connection beneath TLS.
func (c *Client) dial(ctx context.Context, addr string) (conn, raw net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if c.options.Dialer != nil {
		raw, err = c.options.Dialer.DialContext(ctx, "tcp", addr)
	} else {
		raw, err = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext(ctx, "tcp", addr)
	}
	if err != nil || c.options.TLS == nil {
		return raw, raw, err
	}
	cfg := c.options.TLS.Clone()
	cfg.ServerName = cmp.Or(cfg.ServerName, c.host)
	over := tls.Client(raw, cfg)
	if err := over.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return over, raw, nil
}
