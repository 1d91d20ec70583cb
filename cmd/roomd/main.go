// Command roomd is a persistent chat server: a master port that makes, finds
// and deletes rooms, and a TCP port for each room, which plain nc can talk to.
// Rooms and their lines live in one database file and survive everything.
//
// main is only a shell around run, which tests call. The configuration is read by the
// package config. serve puts the packages together and waits for a signal.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
