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

// databaseStats is what a roomd says about its database.
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

// meter reads the metrics of a roomd.
func (o *Process) meter() (m databaseStats, err error) {
	c := http.Client{Timeout: 10 * time.Second}
	defer c.CloseIdleConnections()
	resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", o.metricsPort))
	if err != nil {
		return m, fmt.Errorf("read the metrics: %w", err)
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
			most, _ := strconv.ParseFloat(strings.TrimSuffix(bound, `"}`), 64)
			m.buckets = append(m.buckets, bucketCount{most, v})
		case name == "roomd_commit_duration_seconds_sum":
			m.seconds = v
		case name == "roomd_commit_duration_seconds_count":
			m.commits = uint64(v)
		}
	}
	m.disk, err = o.disk()
	return m, errors.Join(err, lines.Err())
}

// disk is how many bytes the server's files have: all but its configuration.
func (o *Process) disk() (n int64, err error) {
	files, err := os.ReadDir(o.folder)
	for _, f := range files {
		if f.Name() == configName {
			continue
		}
		if info, err := f.Info(); err == nil { // else it has just gone
			n += info.Size()
		}
	}
	return n, err
}

// since is what has happened since an earlier reading: how many transactions,
// how long they took on average and 99 % of them at most, up to the width of
// the server's buckets; and how many bytes are on disk.
func (m databaseStats) since(before databaseStats) (commits uint64, mean, p99 time.Duration, disk int64) {
	commits = m.commits - before.commits
	if commits > 0 {
		mean = time.Duration((m.seconds - before.seconds) / float64(commits) * 1e9)
	}
	for i, b := range m.buckets {
		had := 0.0
		if i < len(before.buckets) {
			had = before.buckets[i].count
		}
		if b.count-had >= .99*float64(commits) {
			p99 = time.Duration(b.bound * 1e9)
			break
		}
	}
	return commits, mean, p99, m.disk
}
