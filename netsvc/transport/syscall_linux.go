package transport

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// send is send(2) without waiting and without SIGPIPE. It takes a few microseconds and never
// sleeps, so the scheduler is not told of it: that would cost a good part of what the call
// itself costs.
func send(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// pollEvents is epoll_wait(2) without waiting.
func pollEvents(ep int, buf []unix.EpollEvent) ([]unix.EpollEvent, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0, 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return buf[:n], nil
}

// getTCPInfo is unix.GetsockoptTCPInfo without an allocation: it is asked of thousands of conns in turn.
func getTCPInfo(fd uintptr, info *unix.TCPInfo) bool {
	size := uint32(unsafe.Sizeof(*info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO, uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0
}
