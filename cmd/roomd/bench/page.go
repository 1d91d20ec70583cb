package bench

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// environment returns a sentence with the time, the machine and the versions of a
// comparison.
func environment(dir string, contenders []contender) (string, error) {
	sync, err := syncTime(dir)
	if err != nil {
		return "", err
	}
	osrelease, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	loadavg, _ := os.ReadFile("/proc/loadavg")
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	text := fmt.Sprintf("%s; %s, %d processors, %s %s; the disk syncs 4 KiB in %s (p50), %s (p99); load average before: %s;",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), cmp.Or(firstMatch(cpuinfo, `model name\s*: (.*)`), runtime.GOARCH), runtime.NumCPU(),
		runtime.GOOS, firstMatch(osrelease, `(\S+)`), formatDuration(sync.P50), formatDuration(sync.P99), firstMatch(loadavg, `(\S+)`))
	for _, c := range contenders {
		if !c.process.isRoomd() {
			version, err := exec.Command(c.process.Binary, "--version").Output()
			if err != nil {
				return "", fmt.Errorf("ask %s for its version: %w", c.process.Binary, err)
			}
			text += fmt.Sprintf(" %s %s,", c.name, firstMatch(version, `(?:\bv=?|IRCd[- ])(\d[\d.]*)`))
		}
	}
	return text + " " + runtime.Version() + ".", nil
}

// firstMatch returns the group of a pattern in a text, or "".
func firstMatch(text []byte, pattern string) string {
	if m := regexp.MustCompile(pattern).FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

// syncTime measures how long the disk takes to append and sync 4 KiB.
func syncTime(dir string) (Quantiles, error) {
	f, err := os.CreateTemp(dir, "roomd-bench-")
	if err != nil {
		return Quantiles{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var times histogram
	for range 200 {
		began := time.Now()
		_, err := f.Write(make([]byte, 4096))
		if err = errors.Join(err, f.Sync()); err != nil {
			return Quantiles{}, fmt.Errorf("try the disk: %w", err)
		}
		times.add(time.Since(began))
	}
	return times.quantiles(), nil
}

// section is a table with a note before it.
type section struct {
	note string
	rows [][]string // the first is the head
}

// writePage replaces the text of a Markdown page between the marks of a name, the lines
// "<!-- name: begin -->" and "<!-- name: end -->", by sections.
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
	return os.WriteFile(file, b.Bytes(), 0o644)
}
