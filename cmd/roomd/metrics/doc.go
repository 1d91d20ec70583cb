// Package metrics answers the HTTP requests of those who watch a server: /metrics
// for Prometheus, /healthz, /readyz, and Go's profiles under /debug/pprof/.
//
// A [Collector] is made before the database is opened, so that a server that
// starts can say that it is not ready. [Collector.Watch] gives it the server, of
// which it keeps nothing: each scrape asks for the numbers of that moment. Only
// how long commits take is observed as they happen.
//
// No label has an unbounded set of values: nicks are not among them, and rooms
// only with metrics.per_room, which rooms.max bounds.
//
// Goroutines: those of net/http, one for each connection, until the function that
// [Collector.Serve] returns has been called. Locks: none; the settings are atomic,
// and Watch is called before Ready is set.
package metrics
