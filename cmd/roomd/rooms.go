package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"roomd/admin/english"
	"roomd/admin/term"
	"roomd/cmd/roomd/remote"
	"roomd/cmd/roomd/usage"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

func newList() *cobra.Command {
	var r remoteFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [PATTERN]",
		Short: "List the rooms: name, port, members, topic",
		Long: `List the rooms: name, port, members, topic. In PATTERN * matches any text and ?
matches one character.

Exit status: 0 done, also if there is no room; 1 failed; 2 wrong usage.`,
		Example: `  roomd list
  roomd list 'dev*' --json
  roomd list --server chat.example.org:8080 --tls`,
		Args: usage.Args(0, 1),
		RunE: r.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
			rooms, err := c.List(cmd.Context(), append(args, "")[0])
			if err != nil {
				return remote.CleanError(err)
			}
			return printRooms(cmd.OutOrStdout(), rooms, asJSON)
		}),
	}
	r.flags(cmd, false)
	cmd.ValidArgsFunction = r.completeRooms(1)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of objects with name, port, members and topic")
	return cmd
}

func printRooms(out io.Writer, rooms []client.RoomInfo, asJSON bool) error {
	if asJSON {
		for i := range rooms {
			rooms[i].Name, rooms[i].Topic = wire.CleanString(rooms[i].Name), wire.CleanString(rooms[i].Topic)
		}
		return json.NewEncoder(out).Encode(rooms)
	}
	if len(rooms) == 0 {
		_, err := fmt.Fprintln(out, "no rooms")
		return err
	}
	rows := [][]string{{"ROOM", "PORT", "MEMBERS", "TOPIC"}}
	for _, i := range rooms {
		rows = append(rows, []string{wire.CleanString(i.Name), strconv.Itoa(i.Port), strconv.Itoa(i.Members), wire.CleanString(i.Topic)})
	}
	_, err := fmt.Fprintln(out, strings.Join(term.Columns(rows...), "\n"))
	return err
}

func newCreate() *cobra.Command {
	var r remoteFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a room, and print its port and its delete key",
		Long: `Create a room, and print its port and its delete key. The key is not shown again.
With --password, new members have to give the password.

Exit status: 0 done; 1 refused or failed; 2 wrong usage.`,
		Example: `  roomd create dev
  roomd create board --password secret
  roomd create dev --json | jq -r .key > dev.key`,
		Args: usage.Args(1, 1),
		RunE: r.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
			made, err := c.Create(cmd.Context(), args[0], r.Password)
			if err != nil {
				return remote.CleanError(err)
			}
			made.Name, made.Key = wire.CleanString(made.Name), wire.CleanString(made.Key)
			out := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(made)
			}
			_, err = fmt.Fprintf(out, "%s is created, on port %d\nits delete key, shown only now: %s\n", made.Name, made.Port, made.Key)
			return err
		}),
	}
	r.flags(cmd, true)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object with name, port and key")
	return cmd
}

func newDelete() *cobra.Command {
	var r remoteFlags
	var key string
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a room and disconnect its members",
		Long: `Delete a room and disconnect its members. The configuration of the server
(access.delete) says whether you need the delete key. At a terminal the command asks
first; without a terminal it needs --yes. For some time the operator can restore the
room ("roomd admin restore").

Exit status: 0 done; 1 refused or failed; 2 wrong usage, or --yes is missing.`,
		Example: `  roomd delete dev
  roomd delete dev --yes --key 7f1c0b6a52e94d0c8ab1d2f3945e6a70`,
		Args: usage.Args(1, 1),
		RunE: r.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
			if !yes {
				rooms, err := c.List(cmd.Context(), args[0])
				if err != nil {
					return remote.CleanError(err)
				}
				for _, i := range rooms {
					text := fmt.Sprintf("deletes %s and disconnects %s", wire.CleanString(i.Name), english.Plural(i.Members, "member"))
					if !terminal(cmd.InOrStdin()) {
						return usage.New(cmd, fmt.Errorf("this %s; without a terminal, add --yes to confirm", text))
					}
					if !confirm(cmd.InOrStdin(), cmd.ErrOrStderr(), text) {
						fmt.Fprintln(cmd.ErrOrStderr(), "nothing was done")
						return errReported
					}
				}
			}
			return remote.CleanError(c.Delete(cmd.Context(), args[0], key))
		}),
	}
	r.flags(cmd, false)
	cmd.ValidArgsFunction = r.completeRooms(1)
	cmd.Flags().StringVar(&key, "key", "", "delete `KEY` of the room, which create has printed")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask; required without a terminal")
	return cmd
}
