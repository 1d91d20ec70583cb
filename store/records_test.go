package store

import (
	"bytes"
	"testing"
)

// Records of rooms, of the audit, of ports: whatever is in them, whole by their
// checksum or not, they decode or say why not, and what decodes is kept.
func FuzzRecord(f *testing.F) {
	for _, v := range []string{
		`{"Name":"lobby","Key":"lobby","Port":9000}`, `{"Own":{"Quiet":5}}`, `{"Port":-1e9}`, `null`, `[]`, `{"Created":"x"}`, "", "0123456789abcdef",
	} {
		f.Add(uint64(7), []byte(v), true)
		f.Add(uint64(7), []byte(v), false)
	}
	f.Fuzz(func(t *testing.T, id uint64, v []byte, whole bool) {
		k := u64(id)
		if whole {
			v = seal(k, bytes.Clone(v))
		}
		if r, err := decodeRoom(k, v); err == nil && r.ID != id {
			t.Errorf("room %d is %+v", id, r)
		}
		if _, err := decodeAudit(k, v); err == nil && !whole {
			if p, err := unseal(k, v); err != nil {
				t.Errorf("%q decodes to %q without its checksum", v, p)
			}
		}
		if u, ok := decodePort(v); ok && !bytes.Equal(u.encode(), v) {
			t.Errorf("%x is %+v", v, u)
		}
		if _, err := unseal(u64(id+1), v); err == nil && whole {
			t.Errorf("a record of another key is taken: %x", v)
		}
	})
}
