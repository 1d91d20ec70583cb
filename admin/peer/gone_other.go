//go:build !linux

package peer

import "net"

// WhenGone does nothing where another end that has closed the connection looks like one
// that has closed its own side of it: it is missed when it is written to.
func WhenGone(*net.UnixConn, func()) (stop func()) { return func() {} }
