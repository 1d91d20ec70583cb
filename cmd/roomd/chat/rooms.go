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

// join joins a room, or goes to it if that was done before.
func (c *chat) join(name, password string, interactive bool) error {
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
		if refusal.Code == client.NoRoom && interactive && c.confirm(fmt.Sprintf("there is no room %s; make it?", wire.CleanString(name))) {
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
		c.say("somebody is called %s in %s; you are %s there, /nick changes it", wire.CleanString(wanted), p.name, wire.CleanString(nick))
	}
	c.switchTo(p)
	c.goTask(p.readEvents)
	c.goTask(p.sendQueue)
	return nil
}

// create makes a room and shows its key.
func (c *chat) create(name, password string) error {
	made, err := c.server.Create(c.ctx, name, password)
	if err != nil {
		return remote.CleanError(err)
	}
	c.say("%s is there, on port %d; its delete key, shown only now: %s", wire.CleanString(made.Name), made.Port, wire.CleanString(made.Key))
	return nil
}

// find is a room that was joined; nil: none of that name.
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

// removeRoom takes a room off the list.
func (c *chat) removeRoom(p *membership) {
	c.mu.Lock()
	c.rooms = slices.DeleteFunc(c.rooms, func(o *membership) bool { return o == p })
	if c.current == p {
		c.current = nil
		if len(c.rooms) > 0 {
			c.current = c.rooms[len(c.rooms)-1]
		}
	}
	c.mu.Unlock()
	c.updatePrompt()
}

// closeRooms leaves all rooms.
func (c *chat) closeRooms() {
	c.mu.Lock()
	rooms := slices.Clone(c.rooms)
	c.mu.Unlock()
	for _, p := range rooms {
		p.room.Close()
	}
}

// listRooms returns the server's rooms as they were not longer than an age ago.
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
