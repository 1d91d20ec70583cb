// Package proxy reads the header of the PROXY protocol, with which a proxy in front of the
// server tells the address of a client.
//
// It has no state and no goroutine; the caller sets the deadline of the connection, and
// says which proxies it trusts.
package proxy
