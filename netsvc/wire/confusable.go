package wire

import (
	"hash/maphash"
	"slices"
)

// ConfusableNicks is a set of nicks that finds the nick that a new one is confusable with.
// Nicks of guests are not in it: ParseNick refuses names that look like them. As no two Latin
// nicks are confusable, the set only counts them by skeleton, in some 30 bytes each. The zero
// value is empty; the caller locks it.
type ConfusableNicks struct {
	latin map[skeletonHash]int32
	other map[skeletonHash][]Name
}

// skeletonHash is the hash of a skeleton.
type skeletonHash uint64

var skeletonSeed = maphash.MakeSeed()

func hashSkeleton(n Name) skeletonHash {
	return skeletonHash(maphash.String(skeletonSeed, n.Skeleton()))
}

// HasConfusable reports whether n is confusable with a nick of the set other than own, which
// is in the set too.
func (l *ConfusableNicks) HasConfusable(n, own Name) bool {
	look := hashSkeleton(n)
	if !n.IsLatin() {
		latin := l.latin[look]
		if latin > 0 && own.IsLatin() && hashSkeleton(own) == look {
			latin--
		}
		if latin > 0 {
			return true
		}
	}
	for _, other := range l.other[look] {
		if other.Key != own.Key && n.IsConfusable(other) {
			return true
		}
	}
	return false
}

// Add adds a nick.
func (l *ConfusableNicks) Add(n Name) {
	switch {
	case n.IsGuest():
	case n.IsLatin():
		if l.latin == nil {
			l.latin = make(map[skeletonHash]int32)
		}
		l.latin[hashSkeleton(n)]++
	default:
		if l.other == nil {
			l.other = make(map[skeletonHash][]Name)
		}
		look := hashSkeleton(n)
		l.other[look] = append(l.other[look], n)
	}
}

// Remove removes a nick that was added.
func (l *ConfusableNicks) Remove(n Name) {
	if n.IsGuest() {
		return
	}
	look := hashSkeleton(n)
	if n.IsLatin() {
		if l.latin[look]--; l.latin[look] <= 0 {
			delete(l.latin, look)
		}
		return
	}
	all := slices.DeleteFunc(l.other[look], func(o Name) bool { return o.Key == n.Key })
	if l.other[look] = all; len(all) == 0 {
		delete(l.other, look)
	}
}

// Len is the number of nicks in the set.
func (l *ConfusableNicks) Len() (n int) {
	for _, k := range l.latin {
		n += int(k)
	}
	for _, all := range l.other {
		n += len(all)
	}
	return n
}
