// Package usage explains a wrong command line, in place of cobra and pflag: an Error names the
// most similar flag or command, and the help. The process then exits with status 2. The
// package knows no command.
package usage
