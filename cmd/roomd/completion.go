package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"roomd/admin"
)

// completionTimeout is how long a shell's Tab waits for a server. Without an
// answer there is nothing to offer, and nothing is said.
const completionTimeout = 500 * time.Millisecond

// completer is what cobra asks for the words that may follow.
type completer = func(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective)

// completeAdmin offers what may follow in a line for the running server: commands,
// flags, rooms, members. What stands before them is for roomd admin itself.
func completeAdmin(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective) {
	if n := len(args); n > 0 && (args[n-1] == "--socket" || args[n-1] == "--config") {
		return nil, cobra.ShellCompDirectiveDefault // a file
	}
	socket, words, err := parseAdminArgs(args, io.Discard)
	if err != nil {
		socket, words = "", args // the commands are known without a server
	}
	if len(words) == 0 && strings.HasPrefix(last, "-") {
		return []string{"--config", "--help", "--socket"}, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	return admin.Complete(ctx, socket, words, last), cobra.ShellCompDirectiveNoFileComp
}
