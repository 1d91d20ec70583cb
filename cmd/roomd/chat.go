package main

import (
	"github.com/spf13/cobra"

	"roomd/cmd/roomd/chat"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/client"
)

func newChat() *cobra.Command {
	var r remoteFlags
	var nick string
	cmd := &cobra.Command{
		Use:   "chat [ROOM...]",
		Short: "Talk: one or more rooms at a terminal",
		Long: `Talk in one or more rooms. What you type goes to the current room, whose name is
in the prompt; a line that begins with / is a command, and /help lists them. What
comes while you type stays out of your line. Tab completes commands, rooms and nicks.

When the server goes, the line you are typing stays, and so do you: everything said
meanwhile is shown when it is back, with its number, and what you said is sent then.

Lines that were typed are kept for each server in ~/.roomd_chat_HOST_PORT. Without a
terminal, or on one that cannot move its cursor (TERM=dumb), lines are read and
printed as they come; at the end of the input it leaves once all is sent.
NO_COLOR=1 turns colours off; the bell and the mark of a mention stay.`,
		Example: `  roomd chat
  roomd chat lobby dev --nick ann
  roomd chat lobby --server chat.example.org:8080 --tls
  printf 'hello\n' | roomd chat lobby`,
		Args: cobra.ArbitraryArgs,
		RunE: r.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
			return chat.Run(cmd.Context(), c, args, chat.Options{Nick: nick, Password: r.Password, In: cmd.InOrStdin(), Out: cmd.OutOrStdout()})
		}),
	}
	r.flags(cmd, true)
	cmd.ValidArgsFunction = r.completeRooms(0)
	cmd.Flags().StringVar(&nick, "nick", "", "your `NAME` in the rooms; default: "+remote.NickVar+", else your login")
	return cmd
}
