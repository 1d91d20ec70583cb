package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// environment is a sentence about when, on what machine and of what versions a
// comparison is.
func environment(dir string, who []contender) (string, error) {
	p50, p99, err := syncTime(dir)
	if err != nil {
		return "", err
	}
	said := fmt.Sprintf("%s; %s, %d processors, %s %s; the disk syncs 4 KiB in %s (p50), %s (p99); load average before: %s;",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), processor(), runtime.NumCPU(), runtime.GOOS, firstWord("/proc/sys/kernel/osrelease"),
		formatDuration(p50), formatDuration(p99), firstWord("/proc/loadavg"))
	for _, w := range who {
		if w.process.Protocol != "roomd" {
			out, err := exec.Command(w.process.Binary, "--version").Output()
			if err != nil {
				return "", fmt.Errorf("ask %s for its version: %w", w.process.Binary, err)
			}
			for _, word := range strings.Fields(string(out)) {
				if v := strings.TrimPrefix(word, "v="); v != word || strings.HasPrefix(v, "v") {
					said += fmt.Sprintf(" %s %s,", w.name, strings.TrimPrefix(v, "v"))
					break
				}
			}
		}
	}
	return said + " " + runtime.Version() + ".", nil
}

func firstWord(file string) string {
	text, _ := os.ReadFile(file)
	word, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return word
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, ok := strings.Cut(string(text), "model name")
	if !ok {
		return runtime.GOARCH
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(strings.TrimLeft(line, " \t:"))
}

// syncTime is how long the disk takes to keep 4 KiB that are appended.
func syncTime(dir string) (p50, p99 time.Duration, err error) {
	f, err := os.CreateTemp(dir, "roomd-bench-")
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, 4096)
	var all []time.Duration
	for range 200 {
		began := time.Now()
		_, err := f.Write(page)
		if err = errors.Join(err, f.Sync()); err != nil {
			return 0, 0, fmt.Errorf("try the disk: %w", err)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], nil
}

// section is a table with what is to be said of it.
type section struct {
	note string
	rows [][]string // the first is the head
}

// writePage puts sections into a Markdown page, in place of what stands there
// between the marks of that name: the lines "<!-- name: begin -->" and
// "<!-- name: end -->".
func writePage(file, name string, sections []section) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table: the lines %q and %q", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s", before, begin)
	for _, s := range sections {
		fmt.Fprintf(&b, "%s\n\n", s.note)
		for i, row := range s.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				fmt.Fprintf(&b, "|---|%s\n", strings.Repeat("--:|", len(row)-1))
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s%s", end, after)
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	if err := os.WriteFile(tmp, b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
