package bench

import (
	"fmt"
	"math/bits"
	"time"
)

// Quantiles are the 50 %, 99 %, 99.9 % and 100 % quantiles of durations, up to the width
// of a bucket.
type Quantiles struct {
	P50  time.Duration `json:"p50_ns,omitempty"`
	P99  time.Duration `json:"p99_ns,omitempty"`
	P999 time.Duration `json:"p999_ns,omitempty"`
	Max  time.Duration `json:"max_ns,omitempty"`
}

// latency formats the quantiles for people.
func (q Quantiles) latency() string {
	return fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, max %s", formatDuration(q.P50), formatDuration(q.P99), formatDuration(q.P999), formatDuration(q.Max))
}

// histogram counts durations in buckets whose width is at most 1/32 of their
// value. Its zero value is ready.
type histogram struct {
	counts [64 * subBuckets]uint64
	n      uint64
	max    time.Duration
}

const subBits, subBuckets = 5, 1 << 5

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

func bucket(v uint64) int {
	e := bits.Len64(v) - 1 - subBits
	if e < 0 {
		return int(v)
	}
	return (e+1)*subBuckets + int(v>>e) - subBuckets
}

func (h *histogram) quantiles() Quantiles {
	return Quantiles{h.quantile(.5), h.quantile(.99), h.quantile(.999), h.max}
}

// quantile returns a duration that a share of all does not exceed, up to the width of a
// bucket.
func (h *histogram) quantile(q float64) time.Duration {
	left := uint64(q * float64(h.n))
	for i, c := range h.counts {
		if left < c {
			if i < subBuckets {
				return time.Duration(i)
			}
			e := i/subBuckets - 1
			return min(time.Duration((uint64(i%subBuckets+subBuckets)+1)<<e-1), h.max)
		}
		left -= c
	}
	return h.max
}
