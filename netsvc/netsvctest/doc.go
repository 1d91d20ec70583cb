// Package netsvctest is shared by the tests of several packages: ports, a server that a test can stop
// and start again, a client that reads and writes lines, and certificates. Only tests import it.
//
// Each package of tests has a range of ports of its own, below the ephemeral ports, because the tests
// of several packages run at a time:
//
//	netsvc/irc      8500 to 9499
//	netsvc          9500 to 12999
//	netsvc/client  13000 to 13999
//	admin          14000 to 16399
//	cmd/roomd      16400 to 32699
//
// It starts no goroutine of its own. A [Server] and a [Client] belong to the test's
// goroutine; [Ports] may be used by several tests at a time.
package netsvctest
