// Package limit says how often, and how many at the same time: Rate is the rule,
// Buckets holds it for each prefix of addresses, and Conns counts connections. It
// is pure: it knows no socket and no clock, the caller passes the time, and it
// never waits: the caller does, or refuses.
//
// A prefix is what counts as one client: an IPv4 address, or the /64 of an IPv6
// address (Prefix). What is remembered of prefixes is bounded by MaxPrefixes.
//
// There are no goroutines here. Buckets and Conns have a lock each, under which
// nothing else is taken; their methods may be called from any goroutine.
package limit
