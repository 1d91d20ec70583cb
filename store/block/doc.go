// Package block defines the bytes of lines: one line (AppendLine, Scan), and a block of
// some kilobytes of one room's lines, which is read, written and checked as a whole. In
// memory the newest lines of a room are blocks that grow; in the database a block is a
// value that does not change.
//
// It does not know files, databases or clocks. There is no goroutine and no lock: a
// block belongs to the caller. While one goroutine appends to a block others may read a
// copy of the Block that was made before: the bytes that Scan reads are never written
// again. Encode writes the header, which Scan does not read.
package block
