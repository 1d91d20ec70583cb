// Package disk is about files and not about what is in them: which file a path
// stands for, through links and under other names; temporary files beside a file,
// with its owner and mode; second names; which process holds a lock; what is
// free; what a sync brings to disk, and what it does not.
//
// It knows no database. There is no goroutine, no lock and no state: each function
// may be called from any goroutine.
package disk
