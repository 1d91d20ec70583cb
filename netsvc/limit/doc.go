// Package limit says how often, and how many at the same time: Rate is a rate limit, Buckets applies
// it to each prefix of addresses, and Conns counts connections. The package is pure: it knows no
// socket and no clock. The caller passes the time, and waits or refuses itself.
//
// A prefix is what counts as one client: an IPv4 address, or the /64 of an IPv6 address (Prefix).
// MaxPrefixes bounds how many prefixes are remembered. ParsePrefix and ParseNetwork read the networks
// of settings and bans.
//
// There are no goroutines here. Buckets and Conns have a lock each, under which no other lock is
// taken. Their methods may be called from any goroutine.
package limit
