// Package value describes the values of settings: their range, the meaning of 0, and how
// a time is written. A key of the configuration file, a setting of one room and a flag of
// a console command read their values by the same descriptions.
//
// All functions are pure: they may be called from any goroutine.
package value
