package disk

import (
	"os"
	"path/filepath"
	"testing"
)

// What is free is asked of the disk that has the database, and not of the one
// that has a link to it.
func TestFreeBehindALink(t *testing.T) {
	link := filepath.Join(t.TempDir(), "roomd.db")
	there, ok := FreeBytes("/proc/self/roomd.db") // nothing is ever free there
	if !ok || there != 0 {
		t.Fatal(there, ok)
	}
	if err := os.Symlink("/proc/self/roomd.db", link); err != nil {
		t.Fatal(err)
	}
	if free, ok := FreeBytes(link); !ok || free != 0 {
		t.Errorf("%d are free, %v", free, ok)
	}
}
