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

// makeRooms makes rooms for a run. remove deletes them again, which must come
// when their members have gone.
func makeRooms(server Server, proto protocol, n int) (rooms []room, remove func() error, err error) {
	leave := func() error { return nil }
	if server.rooms != nil {
		return server.rooms, leave, nil
	}
	name := func(i int) string { return fmt.Sprintf("bench-%d-%d", os.Getpid(), i) }
	if !proto.masterPort {
		for i := range n {
			// The name is sent with every line: a short one is fair.
			rooms = append(rooms, room{name: fmt.Sprintf("r%d", i), at: server.Address})
		}
		return rooms, leave, nil
	}
	ask := func(request string, answer func(line string) error, n int) error {
		c, err := net.DialTimeout("tcp", server.Address.String(), 5*time.Second)
		if err != nil {
			return fmt.Errorf("ask the master port: %w", err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10*time.Second + time.Duration(n)*20*time.Millisecond))
		// A room would take the requests for messages; this it does not, and a
		// master port says that it is no request.
		in := bufio.NewReader(c)
		if _, err := c.Write([]byte("/help\n")); err != nil {
			return fmt.Errorf("write to the master port: %w", err)
		}
		if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "ERR ") {
			return fmt.Errorf("%v is no master port: %s", server.Address, quote([]byte(line)))
		}
		go c.Write([]byte(request))
		for range n {
			line, err := in.ReadString('\n')
			if err != nil {
				return fmt.Errorf("read from the master port: %w", err)
			}
			if err := answer(line); err != nil {
				return err
			}
		}
		return nil
	}
	var request []byte
	for i := range n {
		request = fmt.Appendf(request, "CREATE %s\n", name(i))
	}
	err = ask(string(request), func(line string) error {
		var p room
		var port uint16
		if _, err := fmt.Sscanf(line, "OK %s %d %s", &p.name, &port, &p.key); err != nil {
			return fmt.Errorf("make a room: the server says %s", quote([]byte(line)))
		}
		p.at = netip.AddrPortFrom(server.Address.Addr(), port)
		rooms = append(rooms, p)
		return nil
	}, n)
	if server.Process != nil { // they go with their server
		return rooms, leave, err
	}
	remove = func() error {
		var request []byte
		for _, p := range rooms {
			request = fmt.Appendf(request, "DELETE %s %s\n", p.name, p.key)
		}
		return ask(string(request), func(string) error { return nil }, len(rooms))
	}
	if err != nil && len(rooms) > 0 {
		err = errors.Join(err, remove())
	}
	return rooms, remove, err
}
