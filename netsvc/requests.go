package netsvc

import (
	"errors"
	"fmt"

	"roomd/netsvc/wire"
)

// onlyAnswers reports whether nothing comes of a request but an answer.
func onlyAnswers(v wire.Verb) bool { return v == wire.VerbList || v == wire.VerbHelp }

// fail answers ERR. What is not meant for clients goes to the log.
func (c *masterSession) fail(err error) {
	var refusal *wire.Error
	if !errors.As(err, &refusal) {
		c.svc.log.Error("request failed", "remote", c.remote, "error", err)
	}
	c.out = append(c.out, errLine(err)...)
}

// request carries out a request. Its error is the answer, or ends the connection.
func (c *masterSession) request(req wire.Request) error {
	switch req.Verb {
	case wire.VerbCreate:
		return c.create(req)
	case wire.VerbJoin:
		return c.join(req)
	case wire.VerbList:
		return c.list(req)
	case wire.VerbDelete:
		return c.delete(req)
	case wire.VerbHelp:
		lines := wire.RequestHelp()
		c.out = fmt.Appendf(c.out, "OK %d\n", len(lines))
		for _, l := range lines {
			c.out = append(append(c.out, l...), '\n')
		}
		return nil
	default:
		c.out = append(c.out, "OK bye\n"...)
		return errDone
	}
}

func (c *masterSession) create(req wire.Request) error {
	if !c.svc.opts().CreateAnyone {
		return wire.Errorf(wire.CodeDenied, "only the operator may create rooms here")
	}
	end, ok := c.svc.engine.TryBeginChange()
	if !ok {
		return errMustWait
	}
	defer end()
	info, key, err := c.svc.Create(req.Name, Creation{Session: c.id, Addr: c.remote.String(), Password: req.Secret})
	if err != nil {
		return err
	}
	c.out = fmt.Appendf(c.out, "OK %s %d %s\n", info.Name, info.Port, key)
	return nil
}

func (c *masterSession) join(req wire.Request) error {
	r, err := c.svc.room(req.Name)
	if err != nil {
		return err
	}
	info, ok := r.info()
	switch {
	case !ok:
		return wire.Errorf(wire.CodeNoRoom, "there is no room named %s", r.name())
	case info.Unbound != "":
		return wire.Errorf(wire.CodeBusy, "%s is not reachable at the moment: %s; the server keeps trying", info.Name, info.Unbound)
	}
	if info.Locked {
		info.Members = 0
	}
	c.out = fmt.Appendf(c.out, "OK %s %d %d\n", info.Name, info.Port, info.Members)
	return errDone
}

func (c *masterSession) list(req wire.Request) error {
	infos := c.svc.List()
	switch {
	case req.Name == "":
	case wire.IsPattern(req.Name):
		matching, pattern := infos[:0], wire.NewPattern(req.Name)
		for _, i := range infos {
			if pattern.Match(i.Key) {
				matching = append(matching, i)
			}
		}
		infos = matching
	default:
		// The classic probe: all the names if that room is there, or nothing.
		if _, err := c.svc.room(req.Name); err != nil {
			infos = nil
		}
	}
	before := len(c.out)
	c.out = fmt.Appendf(c.out, "OK %d\n", len(infos))
	for _, i := range infos {
		if i.Locked { // a client without the password learns nothing of the room
			i.Members, i.Topic = 0, ""
		}
		c.out = fmt.Appendf(c.out, "%s %d %d", i.Name, i.Port, i.Members)
		if i.Topic != "" {
			c.out = append(append(c.out, ' '), i.Topic...)
		}
		c.out = append(c.out, '\n')
		if len(c.out) <= answerBytes {
			continue
		}
		if !c.canWait {
			c.out = c.out[:before]
			return errMustWait
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *masterSession) delete(req wire.Request) error {
	// What was answered so far is not to wait for the members.
	if err := c.flush(); err != nil {
		return err
	}
	end, ok := c.svc.engine.TryBeginChange()
	if !ok {
		return errMustWait
	}
	if !c.conn.RunBlocking(func() { // while its members drain nobody waits for the connection
		var name string
		if err := c.svc.deleteRoom(end, req.Name, "", c.remote.String(), func(r *Room) error {
			name = r.name()
			return c.svc.mayDelete(r, c.id, req.Secret)
		}); err != nil {
			c.fail(err)
		} else {
			c.out = fmt.Appendf(c.out, "OK %s\n", name)
		}
		c.send()
	}) {
		return errMoved
	}
	return nil
}
