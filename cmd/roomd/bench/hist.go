package bench

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width is at most 1/32 of their
// value. Its zero value is ready.
type histogram struct {
	counts [64 * subBuckets]uint64
	n      uint64
	most   time.Duration
}

const subBits, subBuckets = 5, 1 << 5

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.n++
	h.most = max(h.most, d)
}

func bucket(v uint64) int {
	e := bits.Len64(v) - 1 - subBits
	if e < 0 {
		return int(v)
	}
	return (e+1)*subBuckets + int(v>>e) - subBuckets
}

// quantile returns what a share of the durations does not exceed, up to the
// width of a bucket.
func (h *histogram) quantile(q float64) time.Duration {
	left := uint64(q * float64(h.n))
	for i, c := range h.counts {
		if left < c {
			if i < subBuckets {
				return time.Duration(i)
			}
			e := i/subBuckets - 1
			return min(time.Duration((uint64(i%subBuckets+subBuckets)+1)<<e-1), h.most)
		}
		left -= c
	}
	return h.most
}
