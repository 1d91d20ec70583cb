package netsvc

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Delete deletes a room for the operator. say is shown to the members before the farewell, once
// the room is deleted on disk. The store keeps the audit together with that.
func (s *Service) Delete(name, say string, audit ...store.Audit) error {
	end, err := s.beginChange()
	if err != nil {
		return err
	}
	return s.deleteRoom(end, name, say, "", "", nil, audit...)
}

// deleteRoom deletes a room, unless allowed returns an error; nil: it is allowed. When deleteRoom
// returns nil, the members have got what was pending and the farewell, and the port is released.
// say is shown before the farewell, and from is the address of the client, which has come by that
// door (for the audit; "": the master port); all may be "".
// While members drain, endChange has been called: no other process could take the room over,
// and an upgrade does not wait for it.
func (s *Service) deleteRoom(endChange func(), name, say, door, from string, allowed func(*Room) error, audit ...store.Audit) error {
	r, err := s.deleteFromStore(name, say, door, from, allowed, audit)
	endChange()
	if err == nil {
		r.work.wait()
	}
	return err
}

func (s *Service) deleteFromStore(name, say, door, from string, allowed func(*Room) error, audit []store.Audit) (*Room, error) {
	r, err := s.room(name)
	if err != nil {
		return nil, err
	}
	if allowed != nil {
		if err := allowed(r); err != nil {
			s.log.Info("deletion of a room refused", "room", r.name(), "remote", from, "error", err)
			s.Publish(Event{Type: "refuse", Room: r.name(), Remote: from, Text: "DELETE: " + err.Error()})
			return nil, err
		}
	}
	err = s.store.Delete(r.id, say, append(audit, networkAudit(cmp.Or(door, store.DoorMaster), from, "DELETE "+r.name())...)...)
	switch {
	case errors.Is(err, store.ErrNoRoom): // deleted by another client meanwhile
		return nil, wire.Errorf(wire.CodeNoRoom, "there is no room named %s", r.name())
	case err != nil:
		return nil, clientError(fmt.Errorf("delete the room %s: %w", r.name(), err))
	}
	return r, nil
}

// networkAudit is the audit of a change by a client at that address. Without an address it is
// nil: then the caller keeps the audit.
func networkAudit(door, from, line string) []store.Audit {
	if from == "" {
		return nil
	}
	return []store.Audit{{Time: time.Now().UTC(), UID: -1, From: from, Door: door, Line: line, Result: "done"}}
}

// deleteIfUnused has a provisional room deleted for good that has neither a member nor a line. mu is
// held.
func (r *Room) deleteIfUnused() {
	if !r.isUnused() || r.vacating || r.state == closing || r.svc.stop.Err() != nil {
		return
	}
	r.vacating = true
	r.work.add(func() {
		end, ok := r.svc.engine.BeginChangeUnlessAbandoned()
		if !ok { // the room is another process's, which finds it unused, too
			return
		}
		defer end()
		if err := r.dropUnused(); err != nil { // a line has come, or the operator has changed the room
			r.mu.Lock()
			defer r.mu.Unlock()
			r.vacating = false
		}
	})
}

// isUnused reports whether the room is to be deleted with its last member. mu is held.
func (r *Room) isUnused() bool {
	return r.provisional && len(r.members) == 0 && r.log.End().Seq == 0
}

// dropUnused deletes a provisional room in the store.
func (r *Room) dropUnused() error {
	err := r.svc.store.DeleteUnused(r.id, networkAudit(store.DoorIRC, r.creatorAddr, "DELETE "+r.name())...)
	if err != nil && !errors.Is(err, store.ErrUsed) && !errors.Is(err, store.ErrNoRoom) && !errors.Is(err, store.ErrClosed) {
		r.svc.log.Error("unused room cannot be deleted; it is deleted when its next member leaves, or at the next start", "room", r.name(), "error", err)
	}
	return err
}

// dropAllUnused deletes the provisional rooms that a crash or a stop has left, and returns the others.
func (s *Service) dropAllUnused(rooms []*Room) []*Room {
	return slices.DeleteFunc(rooms, func(r *Room) bool {
		r.mu.Lock()
		unused := r.isUnused()
		r.mu.Unlock()
		if !unused || r.dropUnused() != nil {
			return false
		}
		r.work.wait()
		return true
	})
}

// mayDelete returns an error unless the policy of DELETE allows the session to delete the room.
func (s *Service) mayDelete(r *Room, session uint64, key string) error {
	switch s.opts().Delete {
	case Anyone:
		return nil
	case Creator:
		if r.creator != 0 && r.creator == session {
			return nil
		}
		hash := sha256.Sum256([]byte(key))
		if key != "" && subtle.ConstantTimeCompare(hash[:], r.keyHash) == 1 {
			return nil
		}
		if key != "" {
			return wire.Errorf(wire.CodeDenied, "that is not the key of %s", r.name())
		}
		return wire.Errorf(wire.CodeDenied, "only the creator of %s may delete it: DELETE %s KEY, with the key that CREATE answered", r.name(), r.name())
	default:
		return wire.Errorf(wire.CodeDenied, "only the operator may delete rooms here")
	}
}

// Trashed is a deleted room.
type Trashed struct {
	ID      uint64    `json:"id"`
	Name    string    `json:"name"`
	Port    int       `json:"port"`
	Deleted time.Time `json:"deleted"`
	Lines   uint64    `json:"lines"`
	Bytes   uint64    `json:"bytes"`
}

// Trash returns the rooms that can be restored, the last deleted first.
func (s *Service) Trash() ([]Trashed, error) {
	rooms, err := s.store.Trash()
	if err != nil {
		return nil, err
	}
	all := make([]Trashed, 0, len(rooms))
	for _, k := range rooms {
		all = append(all, s.trashInfo(k))
	}
	return all, nil
}

// Trashed returns the last deleted room of a name, or the one of an #ID.
func (s *Service) Trashed(name string) (Trashed, error) {
	k, err := s.trashed(name)
	return s.trashInfo(k), err
}

// trashInfo is a deleted room as the operator sees it.
func (s *Service) trashInfo(k store.Room) Trashed {
	t := Trashed{ID: k.ID, Name: k.Name, Port: k.Port, Deleted: k.Deleted}
	if st, err := s.store.TrashStat(k.ID); err == nil {
		t.Lines, t.Bytes = st.Lines, st.Bytes
	}
	return t
}

func (s *Service) trashed(name string) (store.Room, error) {
	rooms, err := s.store.Trash()
	if err != nil {
		return store.Room{}, err
	}
	n, _ := wire.ParseName(name)
	for _, k := range rooms {
		if k.Key == n.Key && n.Key != "" || "#"+strconv.FormatUint(k.ID, 10) == name {
			return k, nil
		}
	}
	return store.Room{}, wire.Errorf(wire.CodeNoRoom, "there is no room %s in the trash", wire.CleanString(name))
}

// Purge removes a deleted room from the disk.
func (s *Service) Purge(name string) error {
	end, err := s.beginChange()
	if err != nil {
		return err
	}
	defer end()
	k, err := s.trashed(name)
	if err != nil {
		return err
	}
	if err := s.store.Purge(k.ID); errors.Is(err, store.ErrNoRoom) { // removed by another command meanwhile
		return wire.Errorf(wire.CodeNoRoom, "%s is no longer in the trash", k.Name)
	} else if err != nil {
		return clientError(fmt.Errorf("purge the room %s: %w", k.Name, err))
	}
	return nil
}

// Restore opens a deleted room again, with its lines, on its port, or on another one if that is
// taken.
func (s *Service) Restore(name string) (RoomInfo, error) {
	end, err := s.beginChange()
	if err != nil {
		return RoomInfo{}, err
	}
	defer end()
	k, err := s.trashed(name)
	if err != nil {
		return RoomInfo{}, err
	}
	placeholder, err := s.reserveName(wire.Name{Shown: k.Name, Key: k.Key}, nil, false)
	if err != nil {
		return RoomInfo{}, err
	}
	ln, err := s.rebindPort(placeholder, k.Port)
	if err != nil {
		s.unregister(placeholder)
		return RoomInfo{}, err
	}
	p := &reservation{placeholder: placeholder, ln: ln}
	if _, err := s.store.Restore(k.ID, ln.Port, p); err != nil {
		p.release()
		if errors.Is(err, store.ErrNoRoom) {
			err = wire.Errorf(wire.CodeNoRoom, "%s is no longer in the trash", k.Name)
		}
		return RoomInfo{}, clientError(err)
	}
	return p.opened()
}

// rebindPort binds the port that a room had, if it is free, else another one.
func (s *Service) rebindPort(r *Room, port int) (*transport.Endpoint, error) {
	s.mu.Lock()
	own := s.ports.Claim(port)
	s.mu.Unlock()
	if own {
		if l, err := s.listen(port); err == nil {
			return l, nil
		}
		s.quarantinePort(port)
	}
	return s.bindFree(r)
}
