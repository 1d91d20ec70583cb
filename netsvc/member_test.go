package netsvc

import (
	"testing"
	"unsafe"
)

// There may be very many members: one has the size of a class of the allocator, and a
// field more would cost each of them 32 bytes.
func TestSizeOfMember(t *testing.T) {
	if n := unsafe.Sizeof(Member{}); n > 384 {
		t.Errorf("a member has %d bytes", n)
	}
}
