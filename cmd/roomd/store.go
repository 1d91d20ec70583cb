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

// storeFlags say which database a command looks after.
type storeFlags struct {
	file string // of the configuration
	json bool
}

// with gives a command the database that the configuration names.
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

	withJSON(add("check", "Read the whole database and say what is damaged", "check", 0, s.with(func(_ *cobra.Command, _ []string, d *offline.Database, _ *config.Config) error { return d.Check() })))
	withJSON(add("info", "Say what is in the database", "info --json", 0, s.with(func(_ *cobra.Command, _ []string, d *offline.Database, _ *config.Config) error { return d.Info() })))
	add("compact", "Give the space back that is free, and what is deleted with it", "compact", 0, s.with(func(cmd *cobra.Command, _ []string, d *offline.Database, c *config.Config) error {
		return d.Compact(cmd.Context(), server.StoreOptions(c))
	}))
	force := false
	restore := add("restore BACKUP", "Put a backup in the database's place, after a check", "restore --force /var/backups/roomd.db", 1, s.with(func(cmd *cobra.Command, args []string, d *offline.Database, c *config.Config) error {
		if err := server.RefuseServerFile(c, args[0]); err != nil {
			return fmt.Errorf("nothing is restored: %w", err)
		}
		return d.Restore(cmd.Context(), args[0], force)
	}))
	restore.Flags().BoolVar(&force, "force", false, "also if there is a database, which is kept beside")
	all, after := false, uint64(0)
	c := add("export ROOM", "Print a room's lines as JSON, one a line", "export lobby >lobby.jsonl", 1, nil)
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := usage.Args(0, 1)(cmd, args); err != nil {
			return err
		}
		if all == (len(args) == 1) || all && after > 0 {
			return usage.New(cmd, errors.New("name a room, or --all; --after is for one room"))
		}
		return nil
	}
	c.RunE = s.with(func(cmd *cobra.Command, args []string, d *offline.Database, c *config.Config) error {
		return d.Export(cmd.Context(), all, append(args, "")[0], after, server.ServerFiles(c))
	})
	c.Flags().BoolVar(&all, "all", false, "all rooms")
	c.Flags().Uint64Var(&after, "after", 0, "only lines after this sequence `NUMBER`")
	add("import FILE", "Read what export has printed, - for standard input; again adds what is missing", "import lobby.jsonl", 1, s.with(func(cmd *cobra.Command, args []string, d *offline.Database, _ *config.Config) error {
		return d.Import(cmd.Context(), args[0], cmd.InOrStdin())
	}))
	withJSON(add("audit", "Print who changed what, and when", "audit --json", 0, s.with(func(cmd *cobra.Command, _ []string, d *offline.Database, _ *config.Config) error {
		st, err := d.Open(cmd.Context())
		if err != nil {
			return err
		}
		return errors.Join(admin.PrintAudit(st, cmd.OutOrStdout(), s.json), st.Close())
	})))
	return cmd
}
