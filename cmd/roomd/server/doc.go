// Package server is the life of one server process: it puts the packages together, says
// that it is ready, waits, and stops or hands over. Serve is all of it; the command line is
// the caller's.
//
//	serve.go     all of it: start, wait, stop
//	start.go     the database, the network, and what is not for chatters
//	options.go   what the packages get of a configuration
//	listeners.go  the metrics and the admin socket, which may be opened after the start
//	reload.go    another configuration while it runs: all prepared, then all in effect
//	upgrade.go   handing over to another process; adopt.go: taking over from one
//	signals.go   what a signal asks for
//	status.go    the status line for the service manager
//
// Goroutines: the one of Serve starts and stops; handleSignals has all signals from the beginning
// to the end; each change by a signal has one, and a change by the console runs on the
// console's; the service manager, the certificate and missing listeners have one each while the
// server runs.
//
// One lock orders changes: changeMu, held by a reload, an upgrade, a late opening and the
// stop. The stop and a change by a signal wait for it; a change by the console is refused
// meanwhile. mu guards the pointer to the configuration in effect and
// is held for nothing else; changeMu is taken first.
package server
