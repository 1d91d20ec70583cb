package netsvc

import (
	"sync"
	"testing"

	"roomd/netsvc/passwd"
	"roomd/store"
)

// Of passwords that are set at the same time one is the last, and it is the same in
// memory and on disk.
func TestPasswordsAtOnce(t *testing.T) {
	s, r := startBare(t, store.Options{}, 0)
	for range 50 {
		var all sync.WaitGroup
		for _, hash := range []string{"a", "b", "c", "d"} {
			all.Go(func() {
				if err := r.update(store.Edit{Password: &hash, Owner: passwd.FromHash(hash)}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		kept, err := s.store.Rooms()
		if err != nil || len(kept) != 1 {
			t.Fatal(kept, err)
		}
		if in := r.password.Load().Hash(); in != kept[0].Password {
			t.Fatalf("%q in memory, %q on disk", in, kept[0].Password)
		}
	}
}
