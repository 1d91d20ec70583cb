// Package usage says in our words what is wrong with a command line, which cobra and
// pflag leave to their own: an Error names the flag or the word that may have been
// meant and where the help is, and ends the process with status 2. It knows no command.
package usage
