package bench

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// databaseStats is a reading of a roomd's counters of its commits.
type databaseStats struct {
	disk    int64 // bytes
	commits uint64
	seconds float64
	buckets []bucketCount
}

type bucketCount struct {
	bound float64 // seconds; the last is without bound
	count float64
}

// databaseStats reads the metrics of a roomd.
func (p *Process) databaseStats() (s databaseStats, err error) {
	c := http.Client{Timeout: 10 * time.Second}
	defer c.CloseIdleConnections()
	resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", p.metricsPort))
	if err != nil {
		return s, fmt.Errorf("read the metrics: %w", err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, word, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseFloat(word, 64)
		if err != nil {
			continue // a comment
		}
		switch bound, isBucket := strings.CutPrefix(name, `roomd_commit_duration_seconds_bucket{le="`); {
		case isBucket:
			seconds, _ := strconv.ParseFloat(strings.TrimSuffix(bound, `"}`), 64)
			s.buckets = append(s.buckets, bucketCount{seconds, v})
		case name == "roomd_commit_duration_seconds_sum":
			s.seconds = v
		case name == "roomd_commit_duration_seconds_count":
			s.commits = uint64(v)
		}
	}
	s.disk, err = p.diskBytes()
	return s, errors.Join(err, lines.Err())
}

// diskBytes returns the size of the server's files: all but its configuration.
func (p *Process) diskBytes() (n int64, err error) {
	files, err := os.ReadDir(p.folder)
	for _, f := range files {
		if info, err := f.Info(); err == nil && f.Name() != configName { // else it has just been removed
			n += info.Size()
		}
	}
	return n, err
}

// since returns the commits since an earlier reading, their mean, and their 99 %
// quantile up to the width of the server's buckets.
func (s databaseStats) since(before databaseStats) Database {
	d := Database{Commits: s.commits - before.commits, Disk: s.disk}
	if d.Commits > 0 {
		d.Commit = time.Duration((s.seconds - before.seconds) / float64(d.Commits) * 1e9)
	}
	for i, b := range s.buckets {
		if i < len(before.buckets) {
			b.count -= before.buckets[i].count
		}
		if b.count >= .99*float64(d.Commits) {
			d.Commit99 = time.Duration(b.bound * 1e9)
			break
		}
	}
	return d
}
