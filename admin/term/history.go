package term

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxHistory bounds the number of past lines.
const maxHistory = 1000

// history holds the past lines, the newest last, without duplicates.
type history struct {
	file  string // empty: only in memory
	lines []string
}

// openHistory reads the file and makes it readable only by its owner. If that fails, the
// history stays in memory.
func openHistory(file string) *history {
	if real, err := filepath.EvalSymlinks(file); err == nil && file != "" {
		file = real // a symbolic link is kept
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

// read reads the file again, because another process may have written it.
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

// add adds a line. If the file cannot be written, the line stays in memory.
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
