package ports

import (
	"slices"
	"testing"
)

func TestQueue(t *testing.T) {
	q := NewQueue([2]int{10, 16}, map[int]bool{11: true, 14: true}, []int{13, 11, 10, 20})
	check := func(quarantined []int, free ...int) {
		t.Helper()
		if got := q.Free(); !slices.Equal(got, free) {
			t.Errorf("%v are free, not %v", got, free)
		}
		if got := q.Quarantined(); !slices.Equal(got, quarantined) {
			t.Errorf("%v are in quarantine, not %v", got, quarantined)
		}
	}
	take := func(want int, tried ...int) {
		t.Helper()
		skip := make(map[int]bool)
		for _, p := range tried {
			skip[p] = true
		}
		if p, ok := q.Take(skip); p != want || ok != (want != 0) {
			t.Errorf("it gives out %d, not %d", p, want)
		}
	}
	check([]int{13, 10}, 12, 15, 16, 13, 10)
	take(15, 12)
	take(12)
	if !q.Claim(13) || q.Claim(13) || q.Claim(11) {
		t.Error("a port is claimed once, if it is free")
	}
	check([]int{10}, 16, 10)
	q.GiveBack(15, 12, 16, 99)
	check([]int{10}, 15, 12, 16, 10)
	q.Release(11)
	q.Release(99)
	check([]int{10, 11}, 15, 12, 16, 10, 11)

	// 13 and 14 are not free: a room has them, or is about to.
	q.SetRange([2]int{13, 18}, map[int]bool{17: true}, []int{15})
	check([]int{15}, 16, 18, 15)
	if first, last := q.Range(); first != 13 || last != 18 || q.Contains(12) || !q.Contains(17) {
		t.Error(first, last)
	}
	for _, want := range []int{16, 18, 15, 0} {
		take(want)
	}
}
