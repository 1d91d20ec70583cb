package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"roomd/admin"
	"roomd/admin/english"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/progress"
	"roomd/cmd/roomd/server"
	"roomd/cmd/roomd/usage"
	"roomd/netsvc/wire"
	"roomd/store"

	"github.com/spf13/cobra"
)

// storeCommand is a tool for the database while no server has it.
type storeCommand struct {
	file string // of the configuration
	json bool
}

// data is the database that the configuration names, and how it is kept.
func (s *storeCommand) data(cmd *cobra.Command) (*config.Config, error) {
	return config.LoadKeys(s.file, cmd.ErrOrStderr(), true, "server.data", "history.", "rooms.trash")
}

// open opens the database, which must be there. What is missing from what it
// prints, as it is damaged, is said at standard error.
func (s *storeCommand) open(cmd *cobra.Command) (*store.Store, error) {
	cfg, err := s.data(cmd)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(cfg.Server.Data); err != nil {
		return nil, err // opening would make it
	}
	ctx, stop := admin.UntilSignal(cmd.Context())
	defer stop()
	st, err := store.Open(cfg.Server.Data, store.Options{Context: ctx})
	if err != nil {
		return nil, err
	}
	for _, w := range st.Warnings() {
		fmt.Fprintln(cmd.ErrOrStderr(), wire.CleanString(w))
	}
	return st, nil
}

func newStore() *cobra.Command {
	s := &storeCommand{}
	cmd := &cobra.Command{
		Use:     "store",
		Short:   "Look after the database while the server is down",
		Example: "  roomd store check",
		Args:    usage.Subcommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&s.file, "config", "", "configuration `FILE`")
	add := func(use, short, example string, args int, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Example: "  roomd store " + example, Args: usage.Args(args, args), RunE: run}
		cmd.AddCommand(c)
		return c
	}
	withJSON := func(c *cobra.Command) { c.Flags().BoolVar(&s.json, "json", false, "print JSON") }

	withJSON(add("check", "Read the whole database and say what is damaged", "check", 0, func(cmd *cobra.Command, _ []string) error { return s.check(cmd) }))
	withJSON(add("info", "Say what is in the database", "info --json", 0, func(cmd *cobra.Command, _ []string) error { return s.info(cmd) }))
	add("compact", "Give the space back that is free, and what is deleted with it", "compact", 0, func(cmd *cobra.Command, _ []string) error { return s.compact(cmd) })
	force := false
	restore := add("restore BACKUP", "Put a backup in the database's place, after a check", "restore --force /var/backups/roomd.db", 1, func(cmd *cobra.Command, args []string) error {
		return s.restore(cmd, args[0], force)
	})
	restore.Flags().BoolVar(&force, "force", false, "also if there is a database, which is kept beside")
	export := &transfer{}
	c := add("export ROOM", "Print a room's lines as JSON, one a line", "export lobby >lobby.jsonl", 1, nil)
	c.Args, c.RunE = usage.Args(0, 1), func(cmd *cobra.Command, args []string) error { return s.export(cmd, export, args) }
	c.Flags().BoolVar(&export.all, "all", false, "all rooms")
	c.Flags().Uint64Var(&export.after, "after", 0, "only lines after this sequence `NUMBER`")
	add("import FILE", "Read what export has printed, - for standard input; again adds what is missing", "import lobby.jsonl", 1, func(cmd *cobra.Command, args []string) error {
		return s.importFrom(cmd, args[0])
	})
	withJSON(add("audit", "Print who changed what, and when", "audit --json", 0, func(cmd *cobra.Command, _ []string) error {
		st, err := s.open(cmd)
		if err != nil {
			return err
		}
		return errors.Join(admin.PrintAudit(st, cmd.OutOrStdout(), s.json), st.Close())
	}))
	return cmd
}

func (s *storeCommand) check(cmd *cobra.Command) error {
	cfg, err := s.data(cmd)
	if err != nil {
		return err
	}
	info, problems, err := store.Inspect(cfg.Server.Data, true)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if s.json {
		texts := []string{}
		for _, p := range problems {
			texts = append(texts, strings.Split(p.Error(), "\n")...)
		}
		err = json.NewEncoder(out).Encode(struct {
			File     string   `json:"file"`
			Lines    uint64   `json:"lines"`
			Problems []string `json:"problems"`
		}{cfg.Server.Data, info.Lines, texts})
	} else if len(problems) == 0 {
		if info.Schema != store.Schema {
			_, err = fmt.Fprintf(out, "%s is of version %d: the next start brings it to version %d, and keeps it beside\n", cfg.Server.Data, info.Schema, store.Schema)
		} else {
			_, err = fmt.Fprintf(out, "%s is whole: %s, %s\n", cfg.Server.Data, english.Plural(info.Rooms, "room"), english.Plural(info.Lines, "line"))
		}
	} else {
		for _, p := range problems {
			for l := range strings.Lines(p.Error()) {
				fmt.Fprintln(out, wire.CleanString(strings.TrimSuffix(l, "\n")))
			}
		}
	}
	if len(problems) > 0 {
		err = errors.Join(err, fmt.Errorf("%s is damaged; roomd store restore puts a backup in its place", cfg.Server.Data))
	}
	return err
}

func (s *storeCommand) info(cmd *cobra.Command) error {
	cfg, err := s.data(cmd)
	if err != nil {
		return err
	}
	info, problems, err := store.Inspect(cfg.Server.Data, false)
	damage := errors.Join(append(problems, err)...)
	if damage != nil && info.Schema != store.Schema {
		return damage
	}
	rows := []struct {
		name  string
		value any
	}{
		{"file", cfg.Server.Data}, {"schema", info.Schema}, {"bytes", info.Bytes}, {"free", info.Free}, {"rooms", info.Rooms},
		{"trash", info.Trash}, {"lines", info.Lines}, {"journal", info.Journal}, {"bans", info.Bans}, {"audit", info.Audits},
	}
	if s.json {
		all := make(map[string]any)
		for _, r := range rows {
			all[r.name] = r.value
		}
		return errors.Join(json.NewEncoder(cmd.OutOrStdout()).Encode(all), damage)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%v\n", r.name, r.value)
	}
	return errors.Join(w.Flush(), damage)
}

func (s *storeCommand) compact(cmd *cobra.Command) error {
	cfg, err := s.data(cmd)
	if err != nil {
		return err
	}
	options := server.StoreOptions(cfg)
	var done func()
	options.Progress, done = progress.Bytes(cmd.ErrOrStderr(), "compacting")
	ctx, stop := admin.UntilSignal(cmd.Context())
	defer stop()
	options.Context = ctx
	before, after, err := store.Compact(cfg.Server.Data, options)
	done()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s had %d bytes and has %d\n", cfg.Server.Data, before, after)
	return err
}

func (s *storeCommand) restore(cmd *cobra.Command, backup string, force bool) error {
	cfg, err := s.data(cmd)
	if err != nil {
		return err
	}
	if err := server.IsOwn(cfg, backup); err != nil {
		return fmt.Errorf("nothing is restored: %w", err)
	}
	from, err := filepath.Abs(backup)
	if err != nil {
		return err
	}
	ctx, stop := admin.UntilSignal(cmd.Context())
	defer stop()
	copied, done := progress.Bytes(cmd.ErrOrStderr(), "copying")
	kept, err := store.RestoreFile(ctx, backup, cfg.Server.Data, force, copied, byTool("restore "+from, "done"))
	done()
	if err != nil {
		if !force && strings.HasSuffix(err.Error(), "is there already") {
			err = fmt.Errorf("%w; --force puts the backup in its place, and keeps what was there under another name", err)
		}
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is %s now\n", cfg.Server.Data, backup)
	if kept != "" {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "what was there is %s\n", kept)
	}
	return err
}

// transfer is what an export is to hold.
type transfer struct {
	all   bool
	after uint64
}

func (s *storeCommand) export(cmd *cobra.Command, t *transfer, args []string) error {
	if t.all == (len(args) == 1) || t.all && t.after > 0 {
		return usage.Wrong(cmd, errors.New("name a room, or --all; --after is for one room"))
	}
	name := wire.Name{}
	if !t.all {
		var err error
		if name, err = wire.ParseName(args[0]); err != nil {
			return err
		}
	}
	if err := s.ownOutput(cmd); err != nil {
		return err
	}
	st, err := s.open(cmd)
	if err != nil {
		return err
	}
	found := false
	err = st.Export(cmd.OutOrStdout(), func(r store.Room) bool {
		wanted := t.all || r.Key == name.Key
		found = found || wanted
		return wanted
	}, t.after, progress.Lines(cmd.ErrOrStderr(), "exported"))
	switch left := st.LeftRooms(); {
	case err == nil && !found && !t.all:
		err = fmt.Errorf("there is no room %q", args[0])
	case (err == nil || errors.Is(err, store.ErrDamaged)) && t.all && len(left) > 0:
		err = errors.Join(err, fmt.Errorf("this is not all: %s", strings.Join(left, "; ")))
	}
	return errors.Join(err, st.Close())
}

// ownOutput refuses to print into a file of the server. A shell's > has emptied it
// by then; >> has not.
func (s *storeCommand) ownOutput(cmd *cobra.Command) error {
	f, ok := cmd.OutOrStdout().(*os.File)
	if !ok {
		return nil
	}
	cfg, err := s.data(cmd)
	if err != nil {
		return err
	}
	to, err := f.Stat()
	if err != nil {
		return err
	}
	for _, own := range server.OwnFiles(cfg) {
		if is, err := os.Stat(own); err == nil && os.SameFile(is, to) {
			return fmt.Errorf("nothing is exported: the output goes to %s, which belongs to the server", own)
		}
	}
	return nil
}

func (s *storeCommand) importFrom(cmd *cobra.Command, file string) error {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	cfg, err := s.data(cmd)
	if err != nil {
		return err
	}
	ctx, stop := admin.UntilSignal(cmd.Context())
	defer stop()
	st, err := store.Open(cfg.Server.Data, store.Options{Context: ctx})
	if err != nil {
		return err
	}
	st.Start(func([]*store.Post) {})
	rooms, lines, err := st.Import(bufio.NewReaderSize(&endedReader{ctx, in}, 1<<16), keyOf, cleanLine, progress.Lines(cmd.ErrOrStderr(), "imported"))
	result := fmt.Sprintf("%s and %s", english.Plural(rooms, "room"), english.Plural(lines, "line"))
	if err != nil {
		result += ", and no more: " + err.Error()
	}
	if lacks := st.AddAudit(byTool("import "+file, result)); lacks != nil && err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "roomd: warning: the audit lacks this: %v\n", lacks)
	}
	if err = errors.Join(err, st.Close()); err != nil {
		return fmt.Errorf("%s and %s are imported, and then it failed; once the cause is removed the same command adds the rest: %w", english.Plural(rooms, "room"), english.Plural(lines, "line"), err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s and %s are imported\n", english.Plural(rooms, "room"), english.Plural(lines, "line"))
	return err
}

// byTool is what the audit keeps of a tool that works on the database alone.
func byTool(line, result string) store.Audit {
	a := store.Audit{Time: time.Now().UTC(), UID: os.Getuid(), Door: store.DoorTool, Line: line, Result: result}
	if u, err := user.Current(); err == nil {
		a.User = u.Username
	}
	return a
}

// cleanLine makes a line that is imported what it would be if it had been sent:
// it cannot be taken for another one, or for somebody else's.
func cleanLine(l *store.Line) {
	l.Text = wire.CleanString(l.Text)
	l.From = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune("<>*", r) {
			return utf8.RuneError
		}
		return r
	}, wire.CleanString(l.From))
	if from := []rune(l.From); len(from) > wire.MaxName {
		l.From = string(from[:wire.MaxName])
	}
}

// keyOf is what the name of a room is compared by.
func keyOf(name string) (string, error) {
	n, err := wire.ParseName(name)
	return n.Key, err
}

// endedReader reads until its context is done.
type endedReader struct {
	ctx context.Context
	in  io.Reader
}

func (r *endedReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.in.Read(b)
}
