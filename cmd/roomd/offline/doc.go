// Package offline looks after the database while no server has it: it says what is in
// it and what is damaged, compacts it, puts a backup in its place, and takes rooms out
// and in as JSON. What it changes is in the audit, as done by the tool.
//
// The store is opened as the server opens it, and so is refused while one has it. All is
// done by the goroutine that calls.
package offline
