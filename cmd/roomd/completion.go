package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"roomd/admin"
)

// completionBound is how long a shell's Tab waits for a server. Without an
// answer there is nothing to offer, and nothing is said.
const completionBound = 500 * time.Millisecond

// offers is what cobra asks for the words that may follow.
type offers = func(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective)

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
