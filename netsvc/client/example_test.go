package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"roomd/netsvc"
	"roomd/netsvc/client"
	"roomd/store"
)

// A bot that answers whoever speaks. It goes on across restarts of the server;
// what was said meanwhile is answered then.
func Example_echoBot() {
	ctx, server, stop := exampleServer("lobby")
	defer stop()

	c, err := client.Dial(ctx, server, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	bot, err := c.Join(ctx, "lobby", client.JoinOptions{Nick: "echo"})
	if err != nil {
		log.Fatal(err)
	}
	defer bot.Close()

	say(ctx, c, "lobby", "ann", "hello", "stop it")
	for ev := range bot.Events(ctx) {
		if ev.Type != client.Message || ev.Own {
			continue
		}
		fmt.Printf("%s said %q\n", ev.From, ev.Text)
		if ev.Text == "stop it" {
			break
		}
		if _, err := bot.Send(ctx, ev.From+": "+ev.Text); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// ann said "hello"
	// ann said "stop it"
}

// A program that sends a log into a room, many lines at a time, and knows of
// each that it is there.
func Example_logShipper() {
	ctx, server, stop := exampleServer("ops")
	defer stop()
	logFile := strings.NewReader("GET / 200\n\nGET /favicon.ico 404\nGET / 200\n")

	c, err := client.Dial(ctx, server, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	// A nick of its own, which nobody else will take, is what makes a line whose
	// connection broke be there once and not twice.
	room, err := c.Join(ctx, "ops", client.JoinOptions{Nick: "web-1.access"})
	if err != nil {
		log.Fatal(err)
	}
	defer room.Close()

	var sent []*client.Receipt
	lines := bufio.NewScanner(logFile)
	for lines.Scan() {
		receipt, err := room.Post(ctx, lines.Text())
		if errors.Is(err, client.ErrBlank) {
			continue // nothing is no line
		}
		if err != nil {
			log.Fatal(err)
		}
		sent = append(sent, receipt)
	}
	for _, receipt := range sent {
		seq, err := receipt.Wait(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("line", seq, "is in the room")
	}
	// Output:
	// line 1 is in the room
	// line 2 is in the room
	// line 3 is in the room
}

// A bridge carries what is said in one room into another, each line once, also
// if it is started again: it keeps the place behind the last line that it carried,
// with the history that it is in, and stops where that is another one.
func Example_bridge() {
	ctx, server, stop := exampleServer("here", "there")
	defer stop()
	place := filepath.Join(os.TempDir(), fmt.Sprintf("bridge-%d", os.Getpid()))
	defer os.Remove(place)

	c, err := client.Dial(ctx, server, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	carry := func(lines int) {
		var last client.Cursor
		if text, err := os.ReadFile(place); err == nil {
			if err := json.Unmarshal(text, &last); err != nil {
				log.Fatal(err)
			}
		}
		from, err := c.Join(ctx, "here", client.JoinOptions{From: client.AfterCursor(last)})
		if err != nil {
			log.Fatal(err)
		}
		defer from.Close()
		to, err := c.Join(ctx, "there", client.JoinOptions{Nick: "bridge"})
		if err != nil {
			log.Fatal(err)
		}
		defer to.Close()
		for ev := range from.Events(ctx) {
			if ev.Type != client.Message {
				continue
			}
			if _, err := to.Send(ctx, ev.From+" in here: "+ev.Text); err != nil {
				log.Fatal(err)
			}
			// Were it killed between these two, it would carry this line again.
			text, err := json.Marshal(ev.Cursor())
			if err != nil {
				log.Fatal(err)
			}
			if err := os.WriteFile(place, text, 0o600); err != nil {
				log.Fatal(err)
			}
			if lines--; lines == 0 {
				return
			}
		}
	}

	say(ctx, c, "here", "ann", "one", "two", "three", "four")
	carry(2)
	carry(2) // another day

	there, err := c.Join(ctx, "there", client.JoinOptions{From: client.After(0)})
	if err != nil {
		log.Fatal(err)
	}
	defer there.Close()
	for ev := range there.Events(ctx) {
		if ev.Type == client.Live {
			break // all that had been said has come
		}
		if ev.Stored() {
			fmt.Println(ev.Text)
		}
	}
	// Output:
	// ann in here: one
	// ann in here: two
	// ann in here: three
	// ann in here: four
}

// say has somebody say something.
func say(ctx context.Context, c *client.Client, room, nick string, texts ...string) {
	r, err := c.Join(ctx, room, client.JoinOptions{Nick: nick})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for _, t := range texts {
		if _, err := r.Send(ctx, t); err != nil {
			log.Fatal(err)
		}
	}
}

// exampleServer starts a server with rooms.
func exampleServer(rooms ...string) (ctx context.Context, addr string, stop func()) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	dir, err := os.MkdirTemp("", "roomd-example-")
	if err != nil {
		log.Fatal(err)
	}
	st, err := store.Open(filepath.Join(dir, "roomd.db"), store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	svc := netsvc.New(st, options())
	if err := svc.Start(); err != nil {
		log.Fatal(err)
	}
	for _, name := range rooms {
		if _, _, err := svc.Create(name, netsvc.Creation{}); err != nil {
			log.Fatal(err)
		}
	}
	return ctx, fmt.Sprintf("127.0.0.1:%d", svc.Port()), func() {
		cancel()
		svc.Stop()
		if err := errors.Join(st.Check(), st.Close(), os.RemoveAll(dir)); err != nil {
			log.Fatal(err)
		}
	}
}
