package term

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxHistory is how many past lines are remembered.
const maxHistory = 1000

// history is the lines that were typed before, the latest last, none of them
// twice.
type history struct {
	file  string // empty: it is in memory only
	lines []string
}

// openHistory reads the file, which its owner alone may read from now on. One that
// cannot be read or written is done without.
func openHistory(file string) *history {
	if real, err := filepath.EvalSymlinks(file); err == nil && file != "" {
		file = real // a link stays one
	}
	p := &history{file: file}
	if file == "" {
		return p
	}
	if err := os.Chmod(file, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) || !p.read() {
		p.file = ""
	}
	return p
}

// read takes what is in the file, where another process may have added.
func (p *history) read() bool {
	text, err := os.ReadFile(p.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	p.lines = nil
	for l := range strings.Lines(string(text)) {
		if l = strings.TrimSpace(l); l != "" {
			p.put(l)
		}
	}
	return true
}

func (p *history) put(line string) {
	p.lines = append(slices.DeleteFunc(p.lines, func(l string) bool { return l == line }), line)
	p.lines = p.lines[max(0, len(p.lines)-maxHistory):]
}

// add remembers a line. What cannot be written is remembered while we live.
func (p *history) add(line string) {
	if p.file == "" || !p.read() {
		p.put(line)
		return
	}
	p.put(line)
	f, err := os.CreateTemp(filepath.Dir(p.file), filepath.Base(p.file)+".new*") // 0600
	if err != nil {
		return
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(strings.Join(p.lines, "\n") + "\n")
	if errors.Join(err, f.Close()) == nil {
		_ = os.Rename(f.Name(), p.file)
	}
}
