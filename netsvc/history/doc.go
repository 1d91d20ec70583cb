// Package history reads the history of a room in turns: a page of lines, or as many blocks as the
// store counts at a time, in each. In between others have their turn, so that a reader of many lines
// delays nobody, and the database can reuse its pages. Whose turn it is, and what the lines cost,
// the caller knows.
//
// The package has no goroutines, no locks and no state of its own.
package history
