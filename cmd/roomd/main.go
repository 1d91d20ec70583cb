// Command roomd is a persistent chat server: a master port that makes, finds
// and deletes rooms, and a TCP port for each room, which plain nc can talk to.
// Rooms and their lines live in one database file and survive everything.
//
// main is only a shell around run, which tests call: the command line, a file for each
// subcommand, and what each prints. The work is done by the packages below: server is what
// "roomd serve" runs, config reads the configuration.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
