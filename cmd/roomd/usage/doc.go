// Package usage answers a wrong command line in our words, in place of those of cobra
// and pflag: an Error names the flag or the word that may have been meant, and where
// the help is. The process then ends with status 2. The package knows no command.
package usage
