package disk

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// LockHolder names the process that holds the lock on path, from /proc/locks
// (proc(5)): "1: FLOCK ADVISORY WRITE 4711 fe:00:131 0 EOF".
func LockHolder(path string) string {
	const unknown = "another process"
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return unknown
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return unknown
	}
	defer f.Close()
	inode := fmt.Sprintf(":%d", st.Ino)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.Fields(sc.Text())
		if len(w) < 6 || w[1] != "FLOCK" || !strings.HasSuffix(w[5], inode) {
			continue
		}
		comm, err := os.ReadFile("/proc/" + w[4] + "/comm")
		if err != nil {
			return "process " + w[4]
		}
		return fmt.Sprintf("process %s (%s)", w[4], strings.TrimSpace(string(comm)))
	}
	return unknown
}
