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

// Database is a file, and where to say what is in it.
type Database struct {
	File string
	Out  io.Writer
	Err  io.Writer // of what is done meanwhile, and warnings
	JSON bool      // of what Check and Info print
	// SignalContext makes the context of what a signal breaks off.
	SignalContext func(context.Context) (context.Context, context.CancelFunc)
}

// Open opens the database, which must be there. What is missing from what it prints, as
// it is damaged, is said at Err.
func (d *Database) Open(ctx context.Context) (*store.Store, error) {
	if _, err := os.Stat(d.File); err != nil {
		return nil, err // opening would make it
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

// Check reads the whole database and says what is damaged. It fails if something is.
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
	} else if len(problems) == 0 {
		if info.Schema != store.Schema {
			_, err = fmt.Fprintf(out, "%s is of version %d: the next start brings it to version %d, and keeps it beside\n", d.File, info.Schema, store.Schema)
		} else {
			_, err = fmt.Fprintf(out, "%s is whole: %s, %s\n", d.File, english.Plural(info.Rooms, "room"), english.Plural(info.Lines, "line"))
		}
	} else {
		for _, p := range problems {
			for l := range strings.Lines(p.Error()) {
				fmt.Fprintln(out, wire.CleanString(strings.TrimSuffix(l, "\n")))
			}
		}
	}
	if len(problems) > 0 {
		err = errors.Join(err, fmt.Errorf("%s is damaged; roomd store restore puts a backup in its place", d.File))
	}
	return err
}

// Info says what is in the database. It fails if what it says is damaged.
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
		{"trash", info.Trash}, {"lines", info.Lines}, {"journal", info.WALLines}, {"bans", info.Bans}, {"audit", info.AuditEntries},
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

// Compact gives the space back that is free, and what is deleted with it.
func (d *Database) Compact(ctx context.Context, options store.Options) error {
	var done func()
	options.Progress, done = progress.Bytes(d.Err, "compacting")
	ctx, stop := d.SignalContext(ctx)
	defer stop()
	options.Context = ctx
	before, after, err := store.Compact(d.File, options)
	done()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.Out, "%s had %d bytes and has %d\n", d.File, before, after)
	return err
}

// Restore puts a backup in the database's place, after a check; with force also if there
// is a database, which is kept beside.
func (d *Database) Restore(ctx context.Context, backup string, force bool) error {
	from, err := filepath.Abs(backup)
	if err != nil {
		return err
	}
	ctx, stop := d.SignalContext(ctx)
	defer stop()
	copied, done := progress.Bytes(d.Err, "copying")
	kept, err := store.RestoreFile(ctx, backup, d.File, force, copied, toolAudit("restore "+from, "done"))
	done()
	if err != nil {
		if !force && errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w; --force puts the backup in its place, and keeps what was there under another name", err)
		}
		return err
	}
	fmt.Fprintf(d.Out, "%s is %s now\n", d.File, backup)
	if kept != "" {
		_, err = fmt.Fprintf(d.Out, "what was there is %s\n", kept)
	}
	return err
}

// toolAudit is what the audit keeps of a tool that works on the database alone.
func toolAudit(line, result string) store.Audit {
	a := store.Audit{Time: time.Now().UTC(), UID: os.Getuid(), Door: store.DoorTool, Line: line, Result: result}
	if u, err := user.Current(); err == nil {
		a.User = u.Username
	}
	return a
}
