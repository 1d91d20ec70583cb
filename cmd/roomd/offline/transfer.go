package offline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"roomd/admin/english"
	"roomd/cmd/roomd/progress"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Export prints the lines of a room as JSON, one a line, those after a sequence number;
// or of all rooms. own are the files of the server, which the output must not go to.
func (d *Database) Export(ctx context.Context, all bool, name string, after uint64, own []string) error {
	var room wire.Name
	if !all {
		var err error
		if room, err = wire.ParseName(name); err != nil {
			return err
		}
	}
	if err := d.checkOutput(own); err != nil {
		return err
	}
	st, err := d.Open(ctx)
	if err != nil {
		return err
	}
	found := false
	err = st.Export(d.Out, func(r store.Room) bool {
		wanted := all || r.Key == room.Key
		found = found || wanted
		return wanted
	}, after, progress.Lines(d.Err, "exported"))
	switch left := st.SkippedRooms(); {
	case err == nil && !found && !all:
		err = fmt.Errorf("there is no room %q", name)
	case (err == nil || errors.Is(err, store.ErrCorrupt)) && all && len(left) > 0:
		err = errors.Join(err, fmt.Errorf("this is not all: %s", strings.Join(left, "; ")))
	}
	return errors.Join(err, st.Close())
}

// checkOutput refuses to print into a file of the server. A shell's > has emptied it
// by then; >> has not.
func (d *Database) checkOutput(files []string) error {
	f, ok := d.Out.(*os.File)
	if !ok {
		return nil
	}
	to, err := f.Stat()
	if err != nil {
		return err
	}
	for _, own := range files {
		if is, err := os.Stat(own); err == nil && os.SameFile(is, to) {
			return fmt.Errorf("nothing is exported: the output goes to %s, which belongs to the server", own)
		}
	}
	return nil
}

// Import adds the rooms and lines that Export has printed to a file; "-" is in. What is
// there already is left out.
func (d *Database) Import(ctx context.Context, file string, in io.Reader) error {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	ctx, stop := d.SignalContext(ctx)
	defer stop()
	st, err := store.Open(d.File, store.Options{Context: ctx})
	if err != nil {
		return err
	}
	st.Start(store.Follower{})
	rooms, lines, err := st.Import(bufio.NewReaderSize(&contextReader{ctx, in}, 1<<16), roomKey, cleanLine, progress.Lines(d.Err, "imported"))
	result := fmt.Sprintf("%s and %s", english.Plural(rooms, "room"), english.Plural(lines, "line"))
	if err != nil {
		result += ", and no more: " + err.Error()
	}
	if lacks := st.AddAudit(toolAudit("import "+file, result)); lacks != nil && err == nil {
		fmt.Fprintf(d.Err, "roomd: warning: the audit lacks this: %v\n", lacks)
	}
	if err = errors.Join(err, st.Close()); err != nil {
		return fmt.Errorf("%s and %s are imported, and then it failed; once the cause is removed the same command adds the rest: %w", english.Plural(rooms, "room"), english.Plural(lines, "line"), err)
	}
	_, err = fmt.Fprintf(d.Out, "%s and %s are imported\n", english.Plural(rooms, "room"), english.Plural(lines, "line"))
	return err
}

// cleanLine makes a line that is imported what it would be if it had been sent:
// it cannot be taken for another one, or for somebody else's.
func cleanLine(l *store.Line) {
	if l.Kind == store.Topic {
		l.Text = wire.CleanTopic(l.Text)
	} else {
		l.Text = wire.CleanString(l.Text)
	}
	l.From = strings.Map(func(r rune) rune {
		if wire.IsBlank([]byte(string(r))) && !unicode.IsMark(r) || strings.ContainsRune("<>*", r) {
			return utf8.RuneError
		}
		return r
	}, wire.CleanString(l.From))
	if l.From != "" && wire.IsBlank([]byte(l.From)) { // marks alone
		l.From = string(utf8.RuneError)
	}
	if from := []rune(l.From); len(from) > wire.MaxName {
		l.From = string(from[:wire.MaxName])
	}
}

// roomKey is what the name of a room is compared by.
func roomKey(name string) (string, error) {
	n, err := wire.ParseName(name)
	return n.Key, err
}

// contextReader reads until its context is done.
type contextReader struct {
	ctx context.Context
	in  io.Reader
}

func (r *contextReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.in.Read(b)
}
