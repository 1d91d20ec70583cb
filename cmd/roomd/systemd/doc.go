// Package systemd implements sd_notify(3), sd_listen_fds(3) and sd-daemon(3) for the service
// manager and the journal. Environment variables turn it on; without them it does nothing, on
// any system.
//
//	notify.go      notifications: READY, STATUS, RELOADING, MAINPID, the watchdog
//	activation.go  listening sockets that the manager has opened
//	journal.go     the priority of each line of the log
//
// It does not know the server: its health and its status line are functions that [Manager.Run] is given.
//
// It starts no goroutine; Run is to be run on one. A [Manager] has one lock, held
// while a datagram is sent, which takes a second at most.
package systemd
