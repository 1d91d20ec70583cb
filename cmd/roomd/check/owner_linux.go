package check

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// run calls a function with the owner's rights to files, on a thread of its own that ends with
// the function.
func (o owner) run(fn func()) error {
	if o.name == "" {
		fn()
		return nil
	}
	were, err := os.Getgroups()
	if err != nil {
		return err
	}
	if err := unix.Setgroups(o.groups); err != nil { // of the process
		return fmt.Errorf("check with the rights of %s: %w", o.name, err)
	}
	defer unix.Setgroups(were)
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		// credentials(7), capabilities(7): root's rights to files go with the user.
		err := unix.Setfsgid(o.gid)
		if err == nil {
			err = unix.Setfsuid(o.uid)
		}
		if is, failed := unix.SetfsuidRetUid(-1); err == nil && failed == nil && is != o.uid {
			err = unix.EPERM
		}
		if err == nil {
			fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("check with the rights of %s: %w", o.name, err)
	}
	return nil
}
