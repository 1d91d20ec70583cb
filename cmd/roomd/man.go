//go:build man

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"roomd/cmd/roomd/usage"
)

// addManCommand adds a command that writes the man pages and the completions. They are
// made at build time by a binary with the tag man (go run -tags man ./cmd/roomd man
// FOLDER), so that the server does not contain the code for them.
func addManCommand(root *cobra.Command) { root.AddCommand(newMan()) }

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:     "man FOLDER",
		Short:   "Write the man pages and the shell completions into a folder",
		Example: "  roomd man build",
		Hidden:  true,
		Args:    usage.Args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.RemoveCommand(cmd)
			root.DisableAutoGenTag = true
			for dir, write := range map[string]func(dir string) error{
				"man1": func(dir string) error {
					return doc.GenManTree(root, &doc.GenManHeader{Title: "ROOMD", Section: "1", Source: "roomd", Manual: "roomd"}, dir)
				},
				"bash": func(dir string) error { return root.GenBashCompletionFileV2(dir+"/roomd", true) },
				"zsh":  func(dir string) error { return root.GenZshCompletionFile(dir + "/_roomd") },
				"fish": func(dir string) error { return root.GenFishCompletionFile(dir+"/roomd.fish", true) },
			} {
				dir = args[0] + "/" + dir
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return err
				}
				if err := write(dir); err != nil {
					return fmt.Errorf("write %s: %w", dir, err)
				}
			}
			return nil
		},
	}
}
