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
		Short: "Talk in one or more rooms at a terminal",
		Long: `Talk in one or more rooms. The lines that you type go to the current room, whose
name is in the prompt. A line that begins with / is a command; /help lists the
commands. New lines of the rooms are printed above the line that you are typing. Tab
completes commands, rooms and nicks.

If the connection is lost, roomd chat connects again. It then prints the lines that you
missed and their number, and sends the lines that you typed in the meantime.

The lines that you typed are kept in ~/.roomd_chat_HOST_PORT, a file for each server.
Without a terminal, or on one that cannot move its cursor (TERM=dumb), lines are read
and printed one after the other; at the end of the input the command leaves the rooms
when all lines are sent. NO_COLOR=1 turns colours off; the bell and the highlight of a
mention stay.`,
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
	cmd.Flags().StringVar(&nick, "nick", "", "your `NAME` in the rooms; default: "+remote.NickVar+", then your login name")
	return cmd
}
