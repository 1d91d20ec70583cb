// Command bot answers "!time" in a room. It reconnects after a restart of the server or a failure of the network. With a file
// for its cursor it also answers the questions that came while it was not running, each once.
//
//	go run ./bot -server 127.0.0.1:8080 -cursor bot.cursor lobby
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"time"

	"roomd/netsvc/client"
)

func main() {
	server := flag.String("server", "127.0.0.1:8080", "master port, `HOST:PORT`")
	nick := flag.String("nick", "clock", "the bot's `NAME`")
	file := flag.String("cursor", "", "`FILE` that remembers the last line that was dealt with")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: bot [flags] ROOM")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *server, flag.Arg(0), *nick, *file); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, server, room, nick, file string) error {
	options := client.JoinOptions{Nick: nick}
	if file != "" {
		last, err := load(file)
		if err == nil {
			options.From = client.AfterCursor(last)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	c, err := client.Dial(ctx, server, client.Options{})
	if err != nil {
		return err
	}
	bot, err := c.Join(ctx, room, options)
	if err != nil {
		return err
	}
	defer bot.Close()
	for ev := range bot.Events(ctx) {
		if ev.Seq == 0 {
			continue // it is not in the history: somebody has come or gone
		}
		if ev.Type == client.Message && !ev.Notice && !ev.Own && ev.Text == "!time" {
			if _, err := bot.Send(ctx, ev.From+": it is "+time.Now().Format("15:04")); err != nil {
				return err
			}
		}
		if file == "" {
			continue
		}
		if err := save(file, ev.Cursor()); err != nil {
			return err
		}
	}
	return bot.Err()
}

func load(file string) (last client.Cursor, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return last, err
	}
	return last, json.Unmarshal(text, &last)
}

// save replaces the file as a whole: a crash leaves the old one or the new one.
func save(file string, last client.Cursor) error {
	text, err := json.Marshal(last)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
