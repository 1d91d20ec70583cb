package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/offline"
	"roomd/cmd/roomd/server"
	"roomd/cmd/roomd/usage"
)

// storeFlags are the common flags of the store commands.
type storeFlags struct {
	file string // of the configuration
	json bool
}

// with calls a command with the database of the configuration.
func (s *storeFlags) with(do func(cmd *cobra.Command, args []string, d *offline.Database, c *config.Config) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := config.LoadKeys(s.file, cmd.ErrOrStderr(), true, "server.data", "history.", "rooms.trash")
		if err != nil {
			return err
		}
		d := &offline.Database{File: c.Server.Data, Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr(), JSON: s.json, SignalContext: admin.UntilSignal}
		return do(cmd, args, d, c)
	}
}

func newStore() *cobra.Command {
	s := &storeFlags{}
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Check, compact, restore and export the database while the server is stopped",
		Long: `Check, compact, restore and export the database while the server is stopped. The
database is server.data of the configuration. The commands refuse one that a server
uses: "roomd admin backup" copies it, and "roomd admin doctor --full" checks it.

Exit status: 0 done; 1 failed, or something is corrupt; 2 wrong usage.`,
		Example: "  roomd store check",
		Args:    usage.Subcommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&s.file, "config", "", "configuration `FILE`")
	add := func(use, short, about, example string, args int, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Long: short + "." + about, Example: "  roomd store " + example, Args: usage.Args(args, args), RunE: run}
		cmd.AddCommand(c)
		return c
	}
	withJSON := func(c *cobra.Command) { c.Flags().BoolVar(&s.json, "json", false, "print JSON") }

	withJSON(add("check", "Read the whole database and report corrupt records", `

Exit status: 0 the database is whole; 1 something is corrupt, or the database cannot
be read; 2 wrong usage.`, "check", 0, s.with(func(_ *cobra.Command, _ []string, d *offline.Database, _ *config.Config) error { return d.Check() })))
	withJSON(add("info", "Show what the database contains", "", "info --json", 0, s.with(func(_ *cobra.Command, _ []string, d *offline.Database, _ *config.Config) error { return d.Info() })))
	add("compact", "Return the free space to the disk; deleted lines are gone for good", `

The command writes a new file, checks it, and puts it in the place of the old one. It
needs as much free space as the new file. Ctrl-C leaves the old file as it was.`, "compact", 0, s.with(func(cmd *cobra.Command, _ []string, d *offline.Database, c *config.Config) error {
		return d.Compact(cmd.Context(), server.StoreOptions(c))
	}))
	force := false
	restore := add("restore BACKUP", "Replace the database with a backup, after a check", `

BACKUP is checked and copied. With --force it replaces a database that exists, which
is kept beside the new one under a name with the time. The new file has the owner and
the permissions of the old one.`, "restore --force /var/backups/roomd.db", 1, s.with(func(cmd *cobra.Command, args []string, d *offline.Database, c *config.Config) error {
		if err := server.RefuseServerFile(c, args[0]); err != nil {
			return fmt.Errorf("backup is not restored: %w", err)
		}
		return d.Restore(cmd.Context(), args[0], force)
	}))
	restore.Flags().BoolVar(&force, "force", false, "replace a database that exists; it is kept under another name")
	all, after := false, uint64(0)
	c := add("export ROOM", "Print the lines of a room as JSON, one object a line", `

The first object is the room, and its lines follow. With --all: every room, with its
lines. The output has the hashes of keys and passwords: protect it like the database.
Corrupt records are skipped and reported, with exit status 1.`, "export lobby >lobby.jsonl\n  roomd store export --all >all.jsonl", 1, nil)
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := usage.Args(0, 1)(cmd, args); err != nil {
			return err
		}
		if all == (len(args) == 1) || all && after > 0 {
			return usage.New(cmd, errors.New("name one room, or use --all; --after needs one room"))
		}
		return nil
	}
	c.RunE = s.with(func(cmd *cobra.Command, args []string, d *offline.Database, c *config.Config) error {
		return d.Export(cmd.Context(), all, append(args, "")[0], after, server.ServerFiles(c))
	})
	c.Flags().BoolVar(&all, "all", false, "print all rooms")
	c.Flags().Uint64Var(&after, "after", 0, "print only lines after this sequence `NUMBER`")
	add("import FILE", "Add the rooms and lines of an export; FILE - is standard input", `

Rooms and lines that the database has already are skipped. If an import was
interrupted, give the same command again.`, "import lobby.jsonl", 1, s.with(func(cmd *cobra.Command, args []string, d *offline.Database, _ *config.Config) error {
		return d.Import(cmd.Context(), args[0], cmd.InOrStdin())
	}))
	withJSON(add("audit", "Print the audit: the time, the user and the command of each change", "", "audit --json", 0, s.with(func(cmd *cobra.Command, _ []string, d *offline.Database, _ *config.Config) error {
		st, err := d.Open(cmd.Context())
		if err != nil {
			return err
		}
		return errors.Join(admin.PrintAudit(st, cmd.OutOrStdout(), s.json), st.Close())
	})))
	return cmd
}
