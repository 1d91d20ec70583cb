package passwd

import (
	"fmt"
	"unsafe"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/sys/unix"
)

// argon2id is argon2.IDKey in memory that the system gives in large pages and
// gets back at once. IDKey takes it from the heap: each page of 4 KiB is faulted
// in, which on a virtual machine takes twice as long as the hash itself and longer
// with two at a time, and what is left is garbage for which everything is
// collected. The library has no way to be given memory, so its parts are called by
// their names: when these change, the link or TestHash fails.
func argon2id(password string, h hash) ([]byte, error) {
	if h.threads != 1 { // nobody makes such ones here
		return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum))), nil
	}
	blocks := max(h.memory/4*4, 8)
	m, err := unix.Mmap(-1, 0, int(blocks)*int(unsafe.Sizeof(kib{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("memory for a hash: %w", err)
	}
	defer unix.Munmap(m)
	unix.Madvise(m, unix.MADV_HUGEPAGE) // where there are none, small pages will do
	b := unsafe.Slice((*kib)(unsafe.Pointer(&m[0])), blocks)
	first := initHash([]byte(password), h.salt, nil, nil, h.passes, h.memory, 1, uint32(len(h.sum)), modeID)
	copy(b, initBlocks(&first, 2, 1))
	processBlocks(b, h.passes, blocks, 1, modeID)
	return extractKey(b, blocks, 1, uint32(len(h.sum))), nil
}

type kib [128]uint64 // a block

const modeID = 2 // RFC 9106, section 3.1: y

//go:linkname initHash golang.org/x/crypto/argon2.initHash
func initHash(password, salt, key, data []byte, time, memory, threads, keyLen uint32, mode int) [blake2b.Size + 8]byte

//go:linkname initBlocks golang.org/x/crypto/argon2.initBlocks
func initBlocks(h0 *[blake2b.Size + 8]byte, memory, threads uint32) []kib

//go:linkname processBlocks golang.org/x/crypto/argon2.processBlocks
func processBlocks(b []kib, time, memory, threads uint32, mode int)

//go:linkname extractKey golang.org/x/crypto/argon2.extractKey
func extractKey(b []kib, memory, threads, keyLen uint32) []byte
