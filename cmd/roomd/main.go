// Command roomd is a persistent chat server. Its master port creates, finds and deletes
// rooms; each room is a TCP port, and plain nc is a full client. Rooms and their lines are in
// one database file, and survive crashes and restarts.
//
// This package is the command line: a file for each subcommand, with its flags, its help and
// its output. The sub-packages do the work: server is "roomd serve", config reads the
// configuration. main only calls run, as the tests do.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
