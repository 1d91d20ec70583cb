package boltcheck

import (
	"encoding/binary"
	"hash/fnv"
	"os"
)

// The format, in the byte order of the machine. Page 0 and page 1 are meta pages,
// which transactions write in turn.
//
//	page      id 8, flags 2, count of elements 2, overflow (pages more) 4
//	meta      magic 4, version 4, page size 4, flags 4, root bucket 16,
//	          free list 8, high water mark 8, transaction 8, FNV-1a of these 8
//	branch    position of the key 4, its length 4, page 8
//	leaf      flags 4, position of the key 4, its length 4, that of the value 4
//	bucket    root page 8, sequence 8; if the root is 0 its only page follows
//
// A position counts from the beginning of the element.
const (
	magic             = 0xED0CDAED
	version           = 2
	pageHeaderBytes   = 16
	metaBytes         = 64
	elementBytes      = 16
	bucketHeaderBytes = 16

	branchPage  = 0x01
	leafPage    = 0x02
	metaPage    = 0x04
	bucketEntry = 0x01 // flag of an element of a leaf
)

// pageHeader is the first pageHeaderBytes bytes of a page.
type pageHeader struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint32
}

func parsePageHeader(page []byte) pageHeader {
	return pageHeader{
		id:       binary.NativeEndian.Uint64(page),
		flags:    binary.NativeEndian.Uint16(page[8:]),
		count:    int(binary.NativeEndian.Uint16(page[10:])),
		overflow: binary.NativeEndian.Uint32(page[12:]),
	}
}

// meta is the content of a meta page.
type meta struct {
	root uint64 // page of the root bucket
	high uint64 // the first page number that is not in use
	tx   uint64 // the transaction that wrote it
}

// parseMeta reads a meta page; ok is false if it is corrupt.
func parseMeta(page []byte) (m meta, ok bool) {
	b := page[pageHeaderBytes:]
	sum := fnv.New64a()
	sum.Write(b[:metaBytes-8])
	return meta{
		root: binary.NativeEndian.Uint64(b[16:]),
		high: binary.NativeEndian.Uint64(b[40:]),
		tx:   binary.NativeEndian.Uint64(b[48:]),
	}, binary.NativeEndian.Uint64(b[56:]) == sum.Sum64()
}

// HasMagic reports whether a file that begins with b may be a database of bbolt.
func HasMagic(b []byte) bool {
	return len(b) >= pageHeaderBytes+4 && binary.NativeEndian.Uint32(b[pageHeaderBytes:]) == magic
}

// MinFileSize returns the size of the smallest database that is made on this machine:
// bbolt makes a new one of an empty file, and panics on some that are shorter.
func MinFileSize() int64 { return int64(2 * os.Getpagesize()) }
