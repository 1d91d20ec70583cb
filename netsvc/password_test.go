package netsvc

import (
	"path/filepath"
	"sync"
	"testing"

	"roomd/netsvc/passwd"
	"roomd/store"
)

// Of passwords that are set at the same time one is the last, and it is the same in
// memory and on disk.
func TestPasswordsAtOnce(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "roomd.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st.Start(func([]*store.Post) {})
	defer st.Close()
	den, err := st.Create(store.Room{Name: "den", Key: "den", Port: 9000})
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom(New(st, Options{}), den, 0)
	for range 50 {
		var all sync.WaitGroup
		for _, hash := range []string{"a", "b", "c", "d"} {
			all.Go(func() {
				if err := r.setPassword(passwd.FromHash(hash)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		kept, err := st.Rooms()
		if err != nil || len(kept) != 1 {
			t.Fatal(kept, err)
		}
		if in := r.password.Load().Hash(); in != kept[0].Password {
			t.Fatalf("%q in memory, %q on disk", in, kept[0].Password)
		}
	}
}
