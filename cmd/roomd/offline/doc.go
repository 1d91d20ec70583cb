// Package offline works on the database while no server uses it: it shows and checks its
// contents, compacts it, replaces it with a backup, and exports and imports rooms as JSON.
// Each change is in the audit, as done by the tool.
//
// The store is opened as the server opens it, and so refuses a database that a server uses.
// The caller's goroutine does all the work.
package offline
