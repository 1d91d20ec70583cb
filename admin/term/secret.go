package term

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// disableEcho stops a terminal from showing typed text, until show is called.
func disableEcho(in io.Reader) (show func()) {
	f, ok := in.(*os.File)
	if !ok || !IsTerminal(f) {
		return func() {}
	}
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return func() {}
	}
	now := *was
	now.Lflag = now.Lflag&^unix.ECHO | unix.ECHONL
	unix.IoctlSetTermios(fd, setTermios, &now) // it fails if the terminal has gone
	return func() { unix.IoctlSetTermios(fd, setTermios, was) }
}

// ReadSecret reads a line from a terminal without showing it, or the first line of any other
// input. A signal that ends the process restores the terminal first. It is for a process
// without an Editor.
func ReadSecret(in io.Reader, out io.Writer, question string) (string, error) {
	f, ok := in.(*os.File)
	if ok && IsTerminal(f) {
		got := make(chan os.Signal, 1)
		signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
		signal.Notify(got, slices.DeleteFunc(signals, signal.Ignored)...)
		show, read := disableEcho(in), make(chan struct{})
		defer func() {
			signal.Stop(got)
			close(read)
			show()
		}()
		go func() {
			select {
			case sig := <-got:
				show()
				signal.Reset(sig)
				syscall.Kill(os.Getpid(), sig.(syscall.Signal))
			case <-read:
			}
		}()
		fmt.Fprint(out, question)
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err == io.EOF && line != "" {
		err = nil // the last line may lack its end
	}
	return strings.TrimRight(line, "\r\n"), err
}
