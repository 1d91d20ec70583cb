package admin

import (
	"path/filepath"
	"strconv"
	"time"
)

// keepCommands look after the database of the running server.
var keepCommands = []command{
	{name: "backup", args: "FILE", short: "copy the database to a file, while rooms go on", example: "backup /var/backups/roomd.db --keep 7", changes: true,
		flags: []flag{{"keep", "N", "keep N backups: FILE, FILE.1 and so on"}, {"rate", "MB", "megabytes a second at most; 32 by default"}}, run: backup},
	{name: "reopen", short: "let a database that is read-only take lines again, after a check", example: "reopen", changes: true, run: reopen},
}

// backup names a file as the server sees it: relative to its database.
func backup(c *call) error {
	keep, err := c.number("keep", 0)
	if err != nil {
		return err
	}
	rate, err := c.number("rate", 0)
	if err != nil {
		return err
	}
	path := c.args[0]
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(c.Data), path)
	}
	if err := c.would("the database would be copied to %s", path); err != nil {
		return err
	}
	start, shown := time.Now(), time.Now()
	size, err := c.Store.Backup(c.ctx, path, keep, int64(rate)<<20, func(done, total int64) {
		if c.out.json || time.Since(shown) < time.Second {
			return
		}
		shown = time.Now()
		c.out.text("%s of %s", cell("bytes", uint64(done)), cell("bytes", uint64(total)))
		c.out.w.Flush() // who has gone is noticed by the copy
	})
	if err != nil {
		return refuse("refused", "no backup was made: %v", err)
	}
	if c.out.json {
		return c.out.one(struct {
			File  string `json:"file"`
			Bytes int64  `json:"bytes"`
		}{path, size})
	}
	return c.out.text("%s is written and checked: %s in %s s", path, cell("bytes", uint64(size)), strconv.FormatFloat(time.Since(start).Seconds(), 'f', 1, 64))
}

func reopen(c *call) error {
	if c.Store.Broken() == nil {
		c.looked = true
		return c.out.text("the database is not read-only")
	}
	if err := c.would("the database would be closed, opened and checked"); err != nil {
		return err
	}
	if err := c.Store.Reopen(); err != nil {
		return refuse("refused", "it stays as it is: %v", err)
	}
	return c.out.text("the database is checked and takes lines again")
}
