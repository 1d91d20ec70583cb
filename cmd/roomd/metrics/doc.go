// Package metrics serves HTTP for monitoring: /metrics for Prometheus, /healthz, /readyz, and
// the profiles of Go under /debug/pprof/.
//
// A [Collector] exists before the database is opened, so that /readyz answers during the
// start. [Collector.Watch] connects it to the server. Each scrape reads the current numbers;
// only the commits are counted as they happen.
//
// The values of each label are bounded: nicks are no labels, and rooms only with
// metrics.per_room, where rooms.max bounds them.
//
// Goroutines: those of net/http, one for each connection, until the function that
// [Collector.Serve] returns is called. There are no locks: the settings are atomic, and Watch
// is called before Ready is set.
package metrics
