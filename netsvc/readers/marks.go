package readers

import "slices"

// mark is a number of bytes of the output with which the lines of a room are complete up to seq.
type mark struct {
	at   uint32 // modulo 1 << 32
	room uint64
	seq  uint64
}

// marks are not acknowledged yet.
type marks struct {
	due  mark   // the last of its bytes are not written yet, and at counts those of Write; room 0: there is none
	list []mark // at ascends and counts the bytes on the wire
}

const (
	firstMarks = 8  // that have room before the conn is asked
	mostMarks  = 64 // beyond it marks are left out
)

// passed reports whether a count has reached another one. They are not further apart than the buffers
// of a socket.
func passed(count, at uint32) bool { return int32(count-at) >= 0 }

// add appends a mark. It makes room for the next one with trim, and where that does not help leaves
// marks out.
func (k *marks) add(n mark, most int, trim func()) {
	if last := len(k.list) - 1; last >= 0 && k.list[last].at == n.at && k.list[last].room == n.room {
		k.list[last].seq = n.seq
		return
	}
	switch n := cap(k.list); {
	case n == 0:
		k.list = make([]mark, 0, firstMarks)
	case len(k.list) == n:
		switch trim(); {
		case len(k.list) <= n/2:
		case len(k.list) < most:
			k.list = slices.Grow(k.list, n) // so that the conn is asked half as often
		default:
			k.thin()
		}
	}
	k.list = append(k.list, n)
}

// acknowledge removes the marks up to a count, and calls got with each of them.
func (k *marks) acknowledge(count uint32, got func(mark)) {
	n := 0
	for n < len(k.list) && passed(count, k.list[n].at) {
		got(k.list[n])
		n++
	}
	if n > 0 {
		k.list = k.list[:copy(k.list, k.list[n:])]
	}
}

// thin leaves every other mark of the newer half out, but not the newest one of a room. The older half
// is the next to be acknowledged, and stays exact. If the peer acknowledges nothing any more, only
// marks of before count, which are in the older half.
func (k *marks) thin() {
	half := len(k.list) / 2
	newest := make(map[uint64]bool)
	kept := len(k.list)
	for i := len(k.list) - 1; i >= half; i-- {
		if room := k.list[i].room; !newest[room] || i%2 == 0 {
			newest[room] = true
			kept--
			k.list[kept] = k.list[i]
		}
	}
	k.list = k.list[:half+copy(k.list[half:], k.list[kept:])]
}

// forget makes the marks of a room say nothing.
func (k *marks) forget(room uint64) {
	for i := range k.list {
		if k.list[i].room == room {
			k.list[i].room = 0
		}
	}
	if k.due.room == room {
		k.due = mark{}
	}
}
