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

// Export prints the lines of a room after a sequence number, or of all rooms, as JSON, one
// object a line. own are the files of the server, to which the output must not go.
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
	display := progress.New(d.Err)
	found := false
	err = st.Export(d.Out, func(r store.Room) bool {
		wanted := all || r.Key == room.Key
		found = found || wanted
		return wanted
	}, after, display.Lines("exported"))
	display.Clear()
	switch skipped := st.SkippedRooms(); {
	case err == nil && !found && !all:
		err = fmt.Errorf("there is no room named %s", name)
	case (err == nil || errors.Is(err, store.ErrCorrupt)) && all && len(skipped) > 0:
		err = errors.Join(err, fmt.Errorf("the export is incomplete: %s", strings.Join(skipped, "; ")))
	}
	return errors.Join(err, st.Close())
}

// checkOutput returns an error if the output goes to a file of the server. This protects a
// file after >> of a shell; > has already emptied it.
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
			return fmt.Errorf("the output goes to %s, which belongs to the server", own)
		}
	}
	return nil
}

// Import adds the rooms and lines of a file that Export has printed; "-" is in. Rooms and
// lines that exist are skipped.
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
	display := progress.New(d.Err)
	rooms, lines, err := st.Import(bufio.NewReaderSize(&contextReader{ctx, in}, 1<<16), roomKey, cleanLine, display.Lines("imported"))
	display.Clear()
	imported := fmt.Sprintf("%s and %s", english.Plural(rooms, "room"), english.Plural(lines, "line"))
	result := imported
	if err != nil {
		result += ", then: " + err.Error()
	}
	if lacks := st.AddAudit(toolAudit("import "+file, result)); lacks != nil && err == nil {
		fmt.Fprintf(d.Err, "roomd: warning: the import is not in the audit: %v\n", lacks)
	}
	if err = errors.Join(err, st.Close()); err != nil {
		return fmt.Errorf("%s are imported, then the import failed; give the same command again to add the rest: %w", imported, err)
	}
	_, err = fmt.Fprintf(d.Out, "%s are imported\n", imported)
	return err
}

// cleanLine cleans an imported line as the server cleans a line that a member sends: it
// cannot look like another line, or like a line of another member.
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

// roomKey returns the key by which names of rooms are compared.
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
