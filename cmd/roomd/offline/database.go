package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"roomd/admin/english"
	"roomd/cmd/roomd/progress"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Database is a database file, and the outputs of its commands.
type Database struct {
	File string
	Out  io.Writer
	Err  io.Writer // progress and warnings
	JSON bool      // Check and Info print JSON
	// SignalContext makes the context of work that a signal may interrupt.
	SignalContext func(context.Context) (context.Context, context.CancelFunc)
}

// Open opens the database, which must exist. Err gets a warning for each corrupt record that
// is skipped.
func (d *Database) Open(ctx context.Context) (*store.Store, error) {
	if _, err := os.Stat(d.File); err != nil {
		return nil, err // store.Open would create the file
	}
	ctx, stop := d.SignalContext(ctx)
	defer stop()
	st, err := store.Open(d.File, store.Options{Context: ctx})
	if err != nil {
		return nil, err
	}
	for _, w := range st.Warnings() {
		fmt.Fprintln(d.Err, wire.CleanString(w))
	}
	return st, nil
}

// Check reads the whole database and reports corrupt records, which are an error.
func (d *Database) Check() error {
	info, problems, err := store.Inspect(d.File, true)
	if err != nil {
		return err
	}
	out := d.Out
	if d.JSON {
		texts := []string{}
		for _, p := range problems {
			texts = append(texts, strings.Split(p.Error(), "\n")...)
		}
		err = json.NewEncoder(out).Encode(struct {
			File     string   `json:"file"`
			Lines    uint64   `json:"lines"`
			Problems []string `json:"problems"`
		}{d.File, info.Lines, texts})
	} else if len(problems) == 0 && info.Schema != store.Schema {
		_, err = fmt.Fprintf(out, "%s has schema version %d: the next start migrates it to version %d and keeps a copy\n", d.File, info.Schema, store.Schema)
	} else if len(problems) == 0 {
		_, err = fmt.Fprintf(out, "%s is whole: %s, %s\n", d.File, english.Plural(info.Rooms, "room"), english.Plural(info.Lines, "line"))
	} else {
		for _, p := range problems {
			for l := range strings.Lines(p.Error()) {
				fmt.Fprintln(out, wire.CleanString(strings.TrimSuffix(l, "\n")))
			}
		}
	}
	if len(problems) > 0 {
		err = errors.Join(err, fmt.Errorf("%s is corrupt; roomd store restore replaces it with a backup", d.File))
	}
	return err
}

// Info shows the contents of the database in numbers. Corrupt records among them are an error.
func (d *Database) Info() error {
	info, problems, err := store.Inspect(d.File, false)
	damage := errors.Join(append(problems, err)...)
	if damage != nil && info.Schema != store.Schema {
		return damage
	}
	rows := []struct {
		name  string
		value any
	}{
		{"file", d.File}, {"schema", info.Schema}, {"bytes", info.Bytes}, {"free", info.Free}, {"rooms", info.Rooms},
		{"trash", info.Trash}, {"lines", info.Lines}, {"journal", info.WALLines}, {"bans", info.Bans}, {"audit", info.AuditEntries}, {"readers", info.Readers}, {"ids", info.LineIDs},
	}
	if d.JSON {
		all := make(map[string]any)
		for _, r := range rows {
			all[r.name] = r.value
		}
		return errors.Join(json.NewEncoder(d.Out).Encode(all), damage)
	}
	w := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%v\n", r.name, r.value)
	}
	return errors.Join(w.Flush(), damage)
}

// Compact returns the free space of the file to the disk.
func (d *Database) Compact(ctx context.Context, options store.Options) error {
	display := progress.New(d.Err)
	options.Progress = display.Bytes("compacting")
	ctx, stop := d.SignalContext(ctx)
	defer stop()
	options.Context = ctx
	before, after, err := store.Compact(d.File, options)
	display.Clear()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.Out, "%s had %d bytes and has %d\n", d.File, before, after)
	return err
}

// Restore replaces the database with a backup, after a check of the backup. A database that
// exists is an error, unless force is set; then it is kept under another name.
func (d *Database) Restore(ctx context.Context, backup string, force bool) error {
	from, err := filepath.Abs(backup)
	if err != nil {
		return err
	}
	ctx, stop := d.SignalContext(ctx)
	defer stop()
	display := progress.New(d.Err)
	kept, err := store.RestoreFile(ctx, backup, d.File, force, display.Bytes("copying"), toolAudit("restore "+from, "done"))
	display.Clear()
	if err != nil {
		if !force && errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w; --force replaces it and keeps it under another name", err)
		}
		return err
	}
	fmt.Fprintf(d.Out, "%s is %s now\n", d.File, backup)
	if kept != "" {
		_, err = fmt.Fprintf(d.Out, "the old database is kept as %s\n", kept)
	}
	return err
}

// toolAudit is the audit entry of a command that works without a server.
func toolAudit(line, result string) store.Audit {
	a := store.Audit{Time: time.Now().UTC(), UID: os.Getuid(), Door: store.DoorTool, Line: line, Result: result}
	if u, err := user.Current(); err == nil {
		a.User = u.Username
	}
	return a
}
