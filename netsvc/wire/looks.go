package wire

import (
	"hash/maphash"
	"slices"
)

// Looks finds nicks by what they look like, so that none is taken that imitates
// another one. Those of guests are not in it: ParseNick refuses what looks or
// reads like them. As no two Latin ones imitate each other, of these it only has how many look
// like something, in some 30 bytes each. The zero value is empty; its lock is the
// caller's.
type Looks struct {
	latin map[look]int32
	other map[look][]Name
}

// look stands for a skeleton.
type look uint64

var lookSeed = maphash.MakeSeed()

func lookOf(n Name) look { return look(maphash.String(lookSeed, n.Skeleton())) }

// Imitated reports whether n would imitate a nick that is there, other than own,
// which is there too.
func (l *Looks) Imitated(n, own Name) bool {
	look := lookOf(n)
	if !n.Latin() {
		latin := l.latin[look]
		if latin > 0 && own.Latin() && lookOf(own) == look {
			latin--
		}
		if latin > 0 {
			return true
		}
	}
	for _, other := range l.other[look] {
		if other.Key != own.Key && n.Imitates(other) {
			return true
		}
	}
	return false
}

// Add adds a nick.
func (l *Looks) Add(n Name) {
	switch {
	case n.Guest():
	case n.Latin():
		if l.latin == nil {
			l.latin = make(map[look]int32)
		}
		l.latin[lookOf(n)]++
	default:
		if l.other == nil {
			l.other = make(map[look][]Name)
		}
		look := lookOf(n)
		l.other[look] = append(l.other[look], n)
	}
}

// Remove takes out a nick that was added.
func (l *Looks) Remove(n Name) {
	if n.Guest() {
		return
	}
	look := lookOf(n)
	if n.Latin() {
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

// Len returns how many nicks there are, guests excepted.
func (l *Looks) Len() (n int) {
	for _, k := range l.latin {
		n += int(k)
	}
	for _, all := range l.other {
		n += len(all)
	}
	return n
}
