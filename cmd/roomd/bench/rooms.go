package bench

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// makeRooms creates rooms for a run. remove deletes them again; call it after their
// members have left.
func makeRooms(server Server, proto protocol, n int) (rooms []room, remove func() error, err error) {
	remove = func() error { return nil }
	if server.rooms != nil {
		return server.rooms, remove, nil
	}
	var request []byte
	for i := range n {
		// Without a master port the name is sent with every line: a short one is fair.
		rooms = append(rooms, room{name: fmt.Sprintf("r%d", i), at: server.Address})
		request = fmt.Appendf(request, "CREATE bench-%d-%d\n", os.Getpid(), i)
	}
	if !proto.masterPort {
		return rooms, remove, nil
	}
	rooms = rooms[:0]
	replies, err := ask(server.Address, request, n)
	for _, line := range replies {
		var r room
		var port uint16
		if _, bad := fmt.Sscanf(line, "OK %s %d %s", &r.name, &port, &r.key); bad != nil {
			err = fmt.Errorf("create a room: %w", unexpected([]byte(line)))
			break
		}
		r.at = netip.AddrPortFrom(server.Address.Addr(), port)
		rooms = append(rooms, r)
	}
	if server.Process != nil { // they go with their server
		return rooms, remove, err
	}
	remove = func() error {
		var request []byte
		for _, r := range rooms {
			request = fmt.Appendf(request, "DELETE %s %s\n", r.name, r.key)
		}
		_, err := ask(server.Address, request, len(rooms))
		return err
	}
	if err != nil && len(rooms) > 0 {
		err = errors.Join(err, remove())
	}
	return rooms, remove, err
}

// ask sends requests to a master port, and returns its replies, also with an error.
func ask(at netip.AddrPort, requests []byte, n int) (replies []string, err error) {
	c, err := net.DialTimeout("tcp", at.String(), 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("connect to the master port: %w", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10*time.Second + time.Duration(n)*20*time.Millisecond))
	// A room would take the requests for messages. This one it does not, and a master
	// port refuses it.
	in := bufio.NewReader(c)
	if _, err := c.Write([]byte("/help\n")); err != nil {
		return nil, fmt.Errorf("write to the master port: %w", err)
	}
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "ERR ") {
		return nil, fmt.Errorf("%v is no master port: %.120q", at, line)
	}
	go c.Write(requests)
	for range n {
		line, err := in.ReadString('\n')
		if err != nil {
			return replies, fmt.Errorf("read from the master port: %w", err)
		}
		replies = append(replies, line)
	}
	return replies, nil
}
