// Package systemd speaks to the service manager and to the system's journal, as
// sd_notify(3), sd_listen_fds(3) and sd-daemon(3) say. All of it is found by
// variables of the environment; without them nothing is done, on any system.
//
//	notify.go      how the server is: READY, STATUS, RELOADING, MAINPID, the watchdog
//	activation.go  listening sockets that the manager has opened
//	journal.go     the priority of each line of the log
//
// It knows nothing of the server: whether that makes progress, and its status in a
// line, are functions that [Manager.Run] is given.
//
// It starts no goroutine; Run is to be run on one. A [Manager] has one lock, held
// while a datagram is sent, which takes a second at most.
package systemd
