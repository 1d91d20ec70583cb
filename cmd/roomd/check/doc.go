// Package check tries what serve would do with a configuration, without doing it: it
// looks at files and folders, binds ports and closes them again, and asks a server that
// runs for its configuration. Nothing is changed.
//
// Root looks with the rights of the user that the database belongs to (owner.go): on Linux
// the look has a thread of its own, which has given up root's rights to files and ends
// with the look. There are no other goroutines, and no locks.
package check
