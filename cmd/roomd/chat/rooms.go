package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"roomd/cmd/roomd/remote"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// join joins a room, or switches to it if it is joined already.
func (c *chat) join(name, password string) error {
	if p := c.find(name); p != nil {
		c.switchTo(p)
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	c.mu.Lock()
	wanted := c.nick
	c.mu.Unlock()
	nick := wanted
	var room *client.Room
	var err error
	for n := 2; ; n++ {
		room, err = c.server.Join(ctx, name, client.JoinOptions{Nick: nick, Password: password, From: client.Newest(20)})
		var refusal *client.Error
		if !errors.As(err, &refusal) {
			break
		}
		if refusal.Code == client.NoRoom && c.interactive && c.confirm(fmt.Sprintf("there is no room %s; create it?", wire.CleanString(name))) {
			if err := c.create(name, password); err != nil {
				return err
			}
			continue
		}
		if refusal.Code != client.Exists || n > 9 {
			break
		}
		nick = fmt.Sprintf("%s-%d", wanted, n)
	}
	if err != nil {
		return remote.CleanError(err)
	}
	p := newMembership(c, room)
	c.mu.Lock()
	c.rooms = append(c.rooms, p)
	c.mu.Unlock()
	if nick != wanted {
		c.say("the nick %s is in use in %s; you are %s there, /nick changes it", wire.CleanString(wanted), p.name, wire.CleanString(nick))
	}
	c.switchTo(p)
	c.goTask(p.readEvents)
	c.goTask(p.sendQueue)
	return nil
}

// create creates a room and shows its delete key.
func (c *chat) create(name, password string) error {
	made, err := c.server.Create(c.ctx, name, password)
	if err != nil {
		return remote.CleanError(err)
	}
	c.say("%s is created, on port %d; its delete key, shown only now: %s", wire.CleanString(made.Name), made.Port, wire.CleanString(made.Key))
	return nil
}

// find returns the joined room of that name, or nil.
func (c *chat) find(name string) *membership {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.rooms, func(p *membership) bool { return wire.Fold(p.name) == wire.Fold(name) })
	if i < 0 {
		return nil
	}
	return c.rooms[i]
}

// switchTo makes a room the current one.
func (c *chat) switchTo(p *membership) {
	c.mu.Lock()
	c.current = p
	c.mu.Unlock()
	c.updatePrompt()
}

// removeRoom removes a room from the list.
func (c *chat) removeRoom(p *membership) {
	c.mu.Lock()
	c.rooms = slices.DeleteFunc(c.rooms, func(o *membership) bool { return o == p })
	if c.current == p {
		c.current = nil
		if n := len(c.rooms); n > 0 {
			c.current = c.rooms[n-1]
		}
	}
	c.mu.Unlock()
	c.updatePrompt()
}

// closeRooms leaves all rooms.
func (c *chat) closeRooms() {
	for _, p := range c.joined() {
		p.room.Close()
	}
}

// listRooms returns the rooms of the server, from a cache that is not older than age.
func (c *chat) listRooms(age time.Duration) ([]client.RoomInfo, error) {
	c.mu.Lock()
	rooms, at := c.listCache, c.listedAt
	c.mu.Unlock()
	if age > 0 && time.Since(at) < age {
		return rooms, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, 3*time.Second)
	defer cancel()
	rooms, err := c.server.List(ctx, "")
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listCache, c.listedAt = rooms, time.Now()
	return rooms, nil
}
