//go:build !linux

package peer

import "net"

// WhenGone does nothing: these systems do not report whether the other end has closed the
// whole connection. The next write fails then.
func WhenGone(*net.UnixConn, func()) (stop func()) { return func() {} }
