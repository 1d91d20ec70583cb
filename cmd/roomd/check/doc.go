// Package check finds the problems that serve would have with a configuration. It checks
// files and folders, binds ports and closes them again, and asks a running server for its
// configuration. It changes nothing.
//
// Root checks with the rights of the owner of the database (owner.go): on Linux the checks
// run on a thread of their own that has given up root's rights to files and ends with the
// checks. There are no other goroutines, and no locks.
package check
