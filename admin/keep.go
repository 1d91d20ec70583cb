package admin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"roomd/admin/value"
	"roomd/store"
	"roomd/store/disk"
)

// keepCommands look after the database of the running server.
var keepCommands = []command{
	{name: "backup", args: []param{{name: "FILE"}}, short: "Copy the database to a file while the server runs", about: "The client writes and checks FILE, with its own rights.", example: "backup /var/backups/roomd.db --keep 7", changes: true,
		flags: []flag{{"keep", param{name: "N", parse: parseNumber(value.Numbers{Least: 1, Most: maxBackups})}, "keep N backups, 1 to 1000: FILE, FILE.1, …"}, {"rate", param{name: "MB", parse: numberValue.parse}, "copy at most MB megabytes a second (default 32)"}}, run: backup},
	{name: "reopen", short: "Check and reopen a database that is read-only", about: "The server tries by itself, too.", example: "reopen", changes: true, run: reopen},
}

// filesFlag is set by our clients, which write the file; help does not show it. Its value
// lists the identities of the existing files under the backup's names.
const filesFlag = "files"

// maxBackups bounds --keep.
const maxBackups = 1000

// backupTimeout bounds the time that a client reads nothing of a backup, because the database
// cannot reuse space meanwhile.
const backupTimeout = 30 * time.Second

// backup sends the database to a client, which writes the file with the rights of its user
// instead of those of the server. The answer has the bytes in base64, then their number and
// checksum.
func backup(c *call) error {
	keep := c.numbers["keep"]
	identities, ours := c.flags[filesFlag]
	if !ours {
		return refuse("usage", "the client has to write the file: use roomd admin backup FILE, or the prompt of the console")
	}
	var paths []string
	for i := range keep + 1 {
		paths = append(paths, store.BackupName(c.args[0], i))
	}
	files := append(store.Files(c.Database), c.Files()...)
	if file := disk.FirstProtected(files, paths, strings.Split(identities, ",")); file != "" {
		return refuse("refused", "no backup was made: %s is in use by the server", file)
	}
	if err := c.dryRun("the database would be copied to %s", c.args[0]); err != nil {
		return err
	}
	out := &backupWriter{out: c.out, sum: sha256.New()}
	n, err := c.Store.Snapshot(c.ctx, out, int64(c.numbers["rate"])<<20, func(done, total int64) {
		if done == 0 {
			out.header(backupHeader{Total: total})
		}
	})
	if err != nil {
		return refuse("refused", "no backup was made: %v", errors.Join(err, out.resume()))
	}
	return out.header(backupHeader{Total: n, Sum: hex.EncodeToString(out.sum.Sum(nil))})
}

// backupHeader has the size of the database, and at the end that of the backup and its
// checksum.
type backupHeader struct {
	Total int64  `json:"total"`
	Sum   string `json:"sha256,omitempty"`
}

// backupWriter writes bytes as lines of an answer. It waits at most backupTimeout for the
// client.
type backupWriter struct {
	out *output
	sum hash.Hash

	mu    sync.Mutex
	ended bool
}

func (s *backupWriter) Write(b []byte) (n int, err error) {
	s.sum.Write(b)
	for n < len(b) && err == nil {
		part := b[n:min(n+48<<10, len(b))]
		s.extend()
		s.out.w.WriteByte(' ')
		s.out.w.Write(base64.StdEncoding.AppendEncode(s.out.w.AvailableBuffer(), part))
		s.out.w.WriteByte('\n')
		if err = s.out.w.Flush(); err == nil {
			n += len(part)
		}
	}
	return n, err
}

func (s *backupWriter) header(p backupHeader) error {
	s.extend()
	return errors.Join(s.out.object(p), s.out.w.Flush())
}

// extend extends the deadline of the client, unless the backup has ended.
func (s *backupWriter) extend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out.conn != nil && !s.ended {
		s.out.conn.SetWriteDeadline(time.Now().Add(backupTimeout))
	}
}

// SetWriteDeadline ends a write that waits for the client.
func (s *backupWriter) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.out.conn == nil {
		return nil
	}
	return s.out.conn.SetWriteDeadline(t)
}

// resume gives the client a second to read the last line of the answer, the verdict.
func (s *backupWriter) resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out.conn == nil {
		return nil
	}
	return s.out.conn.SetWriteDeadline(time.Now().Add(time.Second))
}

// runCommand is request, and writes the file of a backup.
func runCommand(ctx context.Context, socket, line string, show func(string)) (verdict, error) {
	cmd, args, flags, err := parse(line)
	if err != nil || cmd.name != "backup" {
		return request(ctx, socket, line, show)
	}
	if args[0] == "-" {
		return verdict{word: "ERR", code: "usage", text: "a backup cannot go to standard output, as it is checked as a file; name a file (./- is a file named -)"}, nil
	}
	r := &backupReceiver{ctx: ctx, socket: socket, show: show}
	_, r.json = flags["json"]
	_, dry := flags["dry-run"]
	if !dry {
		delete(flags, "json") // the answer is for us
	}
	if r.file, err = disk.RealPath(args[0]); err != nil {
		return verdict{word: "ERR", code: "refused", text: "no backup was made: " + err.Error()}, nil
	}
	keep, err := strconv.Atoi(flags["keep"])
	if err != nil {
		keep = 0 // the server reports the wrong value
	}
	var there []string
	for i := range min(keep, maxBackups) + 1 {
		if id := disk.FileID(store.BackupName(r.file, i)); id != "" {
			there = append(there, id)
		}
	}
	words := []string{"--" + filesFlag + "=" + strings.Join(there, ",")}
	if _, page := flags[pageFlag]; page {
		words = append(words, "--"+pageFlag)
		delete(flags, pageFlag)
	}
	words = append(words, "backup", r.file)
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		word := "--" + name
		if flags[name] != "" {
			word += "=" + flags[name]
		}
		words = append(words, word)
	}
	r.line = Join(words)
	if dry {
		return request(ctx, socket, r.line, show)
	}
	return r.receive(keep)
}

// backupReceiver writes a backup to a file.
type backupReceiver struct {
	ctx    context.Context
	socket string
	line   string // for the server
	file   string
	json   bool
	show   func(string)

	w            io.Writer
	sum          hash.Hash
	done         int64
	lastProgress time.Time
	header       *backupHeader // nil: nothing was received
	err          error
}

// receive requests the backup and writes the file.
func (r *backupReceiver) receive(keep int) (a verdict, err error) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	began := time.Now()
	r.lastProgress, r.sum = began, sha256.New()
	asked := errors.New("the server has refused") // a and err have the reason
	size, failed := store.WriteBackup(ctx, r.file, keep, func(w io.Writer) error {
		r.w = w
		a, err = request(ctx, r.socket, r.line, func(l string) {
			if r.err == nil {
				if r.err = r.receiveLine(l); r.err != nil {
					cancel()
				}
			}
		})
		switch {
		case r.err != nil:
			return r.err
		case err != nil || a.word != "OK":
			return asked
		case r.header == nil || r.header.Sum != hex.EncodeToString(r.sum.Sum(nil)) || r.header.Total != r.done:
			return errors.New("the checksum of the received bytes is wrong")
		}
		return nil
	})
	switch {
	case failed == nil:
		return a, r.report(size, time.Since(began))
	case errors.Is(failed, asked) && err == nil:
		return a, nil
	case errors.Is(failed, asked) && r.ctx.Err() == nil && r.header == nil:
		return a, err // the server cannot be reached
	case r.ctx.Err() != nil:
		failed = errors.New("it was interrupted")
	case errors.Is(failed, asked):
		failed = fmt.Errorf("the server has stopped sending: %w", err)
	}
	return verdict{word: "ERR", code: "refused", text: fmt.Sprintf("no backup was made: %v", failed)}, nil
}

// receiveLine handles a line of the answer.
func (r *backupReceiver) receiveLine(l string) error {
	if r.header == nil || strings.HasPrefix(l, "{") {
		r.header = new(backupHeader)
		return json.Unmarshal([]byte(l), r.header)
	}
	b, err := base64.StdEncoding.DecodeString(l)
	if err != nil {
		return fmt.Errorf("the answer of the server is not a backup: %w", err)
	}
	r.sum.Write(b)
	n, err := r.w.Write(b)
	r.done += int64(n)
	if err == nil && !r.json && time.Since(r.lastProgress) > time.Second {
		r.lastProgress = time.Now()
		r.show(fmt.Sprintf("%s of %s", cellText("bytes", uint64(r.done)), cellText("bytes", uint64(r.header.Total))))
	}
	var full *os.PathError
	if errors.As(err, &full) {
		who := strconv.Itoa(os.Geteuid())
		if u, err := user.LookupId(who); err == nil {
			who = u.Username
		}
		err = fmt.Errorf("%s cannot write to %s: %w", who, filepath.Dir(r.file), full.Err)
	}
	return err
}

// report reports the finished backup.
func (r *backupReceiver) report(size int64, took time.Duration) error {
	return renderLines(r.json, r.show, func(out *output) error {
		if r.json {
			return out.value(struct {
				File  string `json:"file"`
				Bytes int64  `json:"bytes"`
			}{r.file, size})
		}
		return out.text("%s is written and checked: %s in %.1f s", r.file, cellText("bytes", uint64(size)), took.Seconds())
	})
}

func reopen(c *call) error {
	if c.Store.ReadOnly() == nil {
		c.skipAudit = true
		return c.out.text("the database is not read-only")
	}
	if err := c.dryRun("the database would be closed, opened and checked"); err != nil {
		return err
	}
	if err := c.Store.Reopen(); err != nil {
		return refuse("refused", "the database stays read-only: %v", err)
	}
	return c.out.text("the database is checked and takes lines again")
}
