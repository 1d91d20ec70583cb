package limit

import (
	"net/netip"
	"sync"
	"time"
)

// Rate is a rate limit: PerSecond in the long run, and Burst at once. PerSecond must be above 0.
type Rate struct{ PerSecond, Burst float64 }

// Spend takes n out of a burst by the generic cell rate algorithm (ITU-T I.371). The state of a burst
// is its debt: the time until the burst is full again; 0 or less: it is full. Spend returns the debt
// afterwards, and how long to wait before n may be used: 0 if the burst has n. A caller that does
// not wait keeps the debt from before. An n above the burst always waits.
func (r Rate) Spend(debt time.Duration, n float64) (after, wait time.Duration) {
	after = max(debt, 0) + r.Time(n)
	return after, max(0, after-r.Time(r.Burst))
}

// Times returns a rate that is f times as high, with such a burst.
func (r Rate) Times(f float64) Rate { return Rate{r.PerSecond * f, r.Burst * f} }

// Time returns how long the rate takes for n: the debt that n makes.
func (r Rate) Time(n float64) time.Duration {
	return time.Duration(n / r.PerSecond * float64(time.Second))
}

// Buckets has a burst for each prefix. It forgets prefixes whose burst is full and, beyond
// MaxPrefixes, any. The zero value is empty. Its times are those at which a burst is full again.
type Buckets struct {
	mu     sync.Mutex
	fullAt map[netip.Prefix]time.Time
}

// Take spends n of a prefix's burst and returns how long to wait before n may be used. If that is
// above patience, it spends nothing. A PerSecond of 0 is no limit.
func (b *Buckets) Take(now time.Time, p netip.Prefix, n float64, r Rate, patience time.Duration) (wait time.Duration) {
	if r.PerSecond <= 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	debt, wait := r.Spend(b.fullAt[p].Sub(now), n)
	if wait <= patience {
		b.set(now, p, now.Add(debt))
	}
	return wait
}

// FullAt returns when the burst of a prefix is full again, and the zero time for an unknown prefix.
func (b *Buckets) FullAt(p netip.Prefix) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fullAt[p]
}

// SetFullAt sets when the burst of a prefix is full again.
func (b *Buckets) SetFullAt(now time.Time, p netip.Prefix, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(now, p, at)
}

// set is SetFullAt with mu held.
func (b *Buckets) set(now time.Time, p netip.Prefix, at time.Time) {
	if b.fullAt == nil {
		b.fullAt = make(map[netip.Prefix]time.Time)
	}
	if _, known := b.fullAt[p]; !known {
		Evict(b.fullAt, func(at time.Time) bool { return !at.After(now) }, nil)
	}
	b.fullAt[p] = at
}

// Debts returns the debt of each prefix that has one.
func (b *Buckets) Debts(now time.Time) map[netip.Prefix]time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[netip.Prefix]time.Duration)
	for p, at := range b.fullAt {
		if at.After(now) {
			all[p] = at.Sub(now)
		}
	}
	return all
}

// Restore sets the debts that Debts returned in another process.
func (b *Buckets) Restore(now time.Time, debts map[netip.Prefix]time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, d := range debts {
		b.set(now, p, now.Add(d))
	}
}
