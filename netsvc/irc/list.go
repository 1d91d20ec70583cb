package irc

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

var listCommands = map[string]command{
	"LIST": {do: (*client).doList, cost: line},
}

const (
	listPage  = 500     // rooms that are looked at together; they cost as much as a line
	partBytes = 8 << 10 // of a long answer, before the client has to take it
)

// longAnswer is how far an answer has got that goes out in parts. Another process goes on with it.
type longAnswer struct {
	After string `json:"after,omitempty"` // the key of the last room
	Ref   string `json:"ref,omitempty"`   // of the batch that carries the label of the request; empty: none yet
}

// listFilter is what a client wants to see of the list: ELIST=MU of 005.
type listFilter struct {
	names         []string // folded
	masks, except []wire.Pattern
	more, less    int // members
}

func parseListFilter(param string) (f listFilter) {
	f.more, f.less = -1, math.MaxInt
	for word := range strings.SplitSeq(param, ",") {
		if n, err := strconv.Atoi(strings.TrimLeft(word, "<>")); err == nil && word[0] == '>' {
			f.more = max(f.more, n)
			continue
		} else if err == nil && word[0] == '<' {
			f.less = min(f.less, n)
			continue
		}
		mask, except := strings.CutPrefix(word, "!")
		mask = strings.TrimPrefix(mask, string(chanType))
		switch {
		case mask == "":
		case except:
			f.except = append(f.except, wire.NewPattern(mask))
		case wire.IsPattern(mask):
			f.masks = append(f.masks, wire.NewPattern(mask))
		case !slices.Contains(f.names, wire.Fold(mask)):
			f.names = append(f.names, wire.Fold(mask))
		}
	}
	return f
}

// shows reports whether the list has a room.
func (f *listFilter) shows(i netsvc.RoomInfo) bool {
	match := func(p wire.Pattern) bool { return p.Match(i.Key) }
	named := len(f.names)+len(f.masks) == 0 || slices.Contains(f.names, i.Key) || slices.ContainsFunc(f.masks, match)
	return named && !slices.ContainsFunc(f.except, match) && i.Members > f.more && i.Members < f.less
}

// doList shows the rooms. A long list goes out in parts, each when the client has taken those before:
// no list is kept for it.
func (c *client) doList(m *Message) bool {
	svc, f := c.Service(), parseListFilter(m.Param(0))
	if c.long == nil {
		if n := svc.RoomCount(); !c.wait && n > listPage || !c.AwaitTurn(float64(n)/listPage, c.wait) {
			return false
		}
		c.reply(rplListStart, "Room")
		c.long = new(longAnswer)
	}
	if len(f.names) > 0 && len(f.masks) == 0 {
		for _, name := range f.names {
			if i, err := svc.RoomInfo(name); err == nil && f.shows(i.ForStrangers()) {
				c.listed(i)
			}
		}
		c.reply(rplListEnd)
		return true
	}
	for {
		page := svc.ListAfter(c.long.After, listPage)
		for _, i := range page {
			if len(c.out) > partBytes {
				c.answerPart()
				if !c.AwaitTurn(0, c.wait) {
					return false
				}
			}
			if f.shows(i.ForStrangers()) {
				c.listed(i)
			}
			c.long.After = i.Key
		}
		if len(page) < listPage {
			c.reply(rplListEnd)
			return true
		}
	}
}

// listed appends a room with the way to it for every client of plain text.
func (c *client) listed(i netsvc.RoomInfo) {
	i = i.ForStrangers()
	words := fmt.Sprintf("[%s]", c.way(i.Port))
	if i.Topic != "" {
		words += " " + i.Topic
	}
	c.replyText(rplList, words, string(chanType)+i.Name, strconv.Itoa(i.Members))
}

// way is the command that reaches a port of the server.
func (c *client) way(port int) string {
	program := "nc"
	if c.secure {
		program = "ncat --ssl" // every port speaks TLS
	}
	return fmt.Sprintf("%s %s %d", program, c.server.opts().reach(), c.Service().Advertised(port))
}
