package netsvc

import (
	"testing"
	"unsafe"
)

// There may be very many connections to rooms: the session, its output and its member are one
// allocation, of a class of the allocator, and a field more would cost each of them 32 bytes.
func TestSizeOfLineSession(t *testing.T) {
	if n := unsafe.Sizeof(lineSession{}); n > 384 {
		t.Errorf("a line session has %d bytes", n)
	}
}

// lineOf is the line session of a member.
func lineOf(m *Member) *lineSession { return m.out.session().(*lineSession) }
