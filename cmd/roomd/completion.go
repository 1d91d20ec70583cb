package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"roomd/admin"
)

// completionTimeout is how long Tab in a shell waits for a server. Without an answer there are
// no completions and no message.
const completionTimeout = 500 * time.Millisecond

// completer returns the possible next words for cobra.
type completer = func(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective)

// completeAdmin completes a command for the running server: commands, flags, rooms, members. The
// flags before the command belong to roomd admin.
func completeAdmin(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective) {
	if n := len(args); n > 0 && (args[n-1] == "--socket" || args[n-1] == "--config") {
		return nil, cobra.ShellCompDirectiveDefault // complete a file name
	}
	socket, words, err := parseAdminArgs(args, io.Discard)
	if err != nil {
		socket, words = "", args // names of commands need no server
	}
	if len(words) == 0 && strings.HasPrefix(last, "-") {
		return []string{"--config", "--help", "--socket"}, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	return admin.Complete(ctx, socket, words, last), cobra.ShellCompDirectiveNoFileComp
}
