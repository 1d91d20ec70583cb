// Command bridge carries what is said in a room of one server into a room of another, and back. Lines of the bridge itself are
// not carried, so that nothing goes in a circle.
//
//	go run ./bridge 127.0.0.1:8080/lobby chat.example.org:8080/lobby
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"

	"roomd/netsvc/client"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: bridge HOST:PORT/ROOM HOST:PORT/ROOM")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, one, other string) error {
	a, err := join(ctx, one)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := join(ctx, other)
	if err != nil {
		return err
	}
	defer b.Close()
	ended := make(chan error, 2)
	go func() { ended <- carry(ctx, a, b) }()
	go func() { ended <- carry(ctx, b, a) }()
	return <-ended
}

// join enters the room that HOST:PORT/ROOM names.
func join(ctx context.Context, where string) (*client.Room, error) {
	server, room, ok := strings.Cut(where, "/")
	if !ok {
		return nil, fmt.Errorf("%s is not HOST:PORT/ROOM", where)
	}
	c, err := client.Dial(ctx, server, client.Options{})
	if err != nil {
		return nil, err
	}
	return c.Join(ctx, room, client.JoinOptions{Nick: "bridge"})
}

// carry says in one room what others say in another, until that ends. Send returns when the line is on disk.
func carry(ctx context.Context, from, to *client.Room) error {
	for ev := range from.Events(ctx) {
		text, send := "", to.Send
		if ev.Notice {
			send = to.SendNotice
		}
		switch {
		case ev.Own || ev.From == "bridge":
			continue
		case ev.Type == client.Message:
			text = fmt.Sprintf("<%s> %s", ev.From, ev.Text)
		case ev.Type == client.Action:
			text = fmt.Sprintf("* %s %s", ev.From, ev.Text)
		default:
			continue
		}
		if _, err := send(ctx, text); err != nil && !errors.Is(err, client.ErrRefused) {
			return err
		}
	}
	return from.Err()
}
