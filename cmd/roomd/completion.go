package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/netsvc/wire"
)

// completionBound is how long a shell's Tab waits for a server. Without an
// answer there is nothing to offer, and nothing is said.
const completionBound = 500 * time.Millisecond

// offers is what cobra asks for the words that may follow.
type offers = func(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective)

// rooms offers the server's rooms, for so many words; 0: for any number.
func (r *remote) rooms(most int) offers {
	return func(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cmd.SetErr(io.Discard)
		ctx, cancel := context.WithTimeout(context.Background(), completionBound)
		defer cancel()
		c, err := r.reach(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := c.List(ctx, "")
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, i := range all {
			if name := harmless(i.Name); strings.HasPrefix(wire.Fold(name), wire.Fold(last)) {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// adminWords offers what may follow in a line for the running server: commands,
// flags, rooms, members. What stands before them is for roomd admin itself.
func adminWords(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective) {
	if n := len(args); n > 0 && (args[n-1] == "--socket" || args[n-1] == "--config") {
		return nil, cobra.ShellCompDirectiveDefault // a file
	}
	socket, words, err := adminArgs(args, io.Discard)
	if err != nil {
		socket, words = "", args // the commands are known without a server
	}
	if len(words) == 0 && strings.HasPrefix(last, "-") {
		return []string{"--config", "--help", "--socket"}, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionBound)
	defer cancel()
	return admin.Complete(ctx, socket, words, last), cobra.ShellCompDirectiveNoFileComp
}
