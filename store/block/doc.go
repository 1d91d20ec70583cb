// Package block knows the bytes of lines: one line (AppendLine, Scan), and a
// block of some kilobytes of one room's lines, which is read, written and
// checked as a whole. In memory the newest lines of a room are blocks that
// grow; in the database a block is a value that does not change.
//
// It knows no file, no database and no clock. There is no goroutine and no
// lock: a block belongs to the caller. While one goroutine appends to a block
// others may read a copy of it that was made before: what Scan reads is never
// written again. Encode fills in the head, which Scan does not read.
package block
