// Package server is the life of one server process: it connects the other packages,
// announces that it is ready, waits, and stops or hands over. Serve does all of it; the
// caller reads the command line.
//
//	serve.go      start, wait, stop
//	start.go      opens the database, the network and the operators' side
//	options.go    the options of each package, from the configuration
//	listeners.go  the metrics and the admin socket, which may be opened after the start
//	reload.go     applies another configuration to the running server
//	upgrade.go    hands over to another process
//	adopt.go      takes over from another process
//	signals.go    carries out signals
//	status.go     the watchdog and the status line for the service manager
//
// Goroutines: the one of Serve starts and stops the server. handleSignals receives all
// signals from the beginning to the end. A reload or an upgrade by a signal has a goroutine
// of its own; one by the console runs on the console's. The watchdog, the certificate and
// the missing listeners have one goroutine each while the server runs.
//
// Locks: changeMu orders changes. A reload, an upgrade, the opening of a listener and the
// stop hold it. The stop and a change by a signal wait for it; a change by the console is
// refused after two seconds. mu guards the pointer to the configuration in effect. changeMu
// is taken first.
package server
