package peer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
)

// owner looks for the socket that is connected from one address to another in the tables of TCP
// (proc(5), /proc/net/tcp). A program that speaks IPv6 has an IPv4 connection in the second one.
func owner(from, to netip.AddrPort) (uid int, err error) {
	err = ErrUnknown
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, unreadable := os.Open(table)
		if unreadable != nil {
			continue // there is no IPv6, or no proc(5)
		}
		err = ErrNoOwner
		uid, ok := ownerIn(bufio.NewScanner(f), from, to)
		f.Close()
		if ok {
			return uid, nil
		}
	}
	return 0, err
}

// established is the state of a socket that a process still has. Others show user 0.
const established = "01"

// ownerIn reads a table. Its columns are: number, local address, remote address, state, queues,
// timer, retransmits, user.
func ownerIn(rows *bufio.Scanner, from, to netip.AddrPort) (uid int, ok bool) {
	addrs := [][2]string{{procAddr(from, false), procAddr(to, false)}, {procAddr(from, true), procAddr(to, true)}}
	for rows.Scan() {
		f := bytes.Fields(rows.Bytes())
		if len(f) < 8 || string(f[3]) != established {
			continue
		}
		for _, a := range addrs {
			if string(f[1]) == a[0] && string(f[2]) == a[1] {
				uid, err := strconv.Atoi(string(f[7]))
				return uid, err == nil
			}
		}
	}
	return 0, false
}

// procAddr formats an address as the tables do: words of four bytes in the order of the machine.
// mapped makes an IPv4 address an IPv6 one.
func procAddr(a netip.AddrPort, mapped bool) string {
	ip := a.Addr().Unmap().AsSlice()
	if mapped {
		as16 := a.Addr().As16()
		ip = as16[:]
	}
	text := ""
	for ; len(ip) > 0; ip = ip[4:] {
		text += fmt.Sprintf("%08X", binary.NativeEndian.Uint32(ip))
	}
	return text + fmt.Sprintf(":%04X", a.Port())
}
