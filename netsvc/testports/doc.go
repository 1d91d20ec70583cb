// Package testports gives ports to tests. Each package of tests has a range of its
// own, below the ephemeral ports: the tests of several packages run at a time.
//
//	netsvc          9500 to 12999
//	netsvc/client  13000 to 13999
//	admin          14000 to 16399
//	cmd/roomd      16400 to 32699
//
// It has no goroutines, and one lock, that of a Range.
package testports
