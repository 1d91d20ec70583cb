package netsvc

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Remove deletes a room for the operator. say is shown to the members before
// the farewell, once the room is deleted on disk. Entries of the audit are kept with
// that.
func (s *Service) Remove(name, say string, audit ...store.Audit) error {
	end, err := s.alterOrRefuse()
	if err != nil {
		return err
	}
	return s.deleteRoom(end, name, say, "", func(*Room) error { return nil }, audit...)
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

// Trashed finds the last deleted room of that name, or by #ID.
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

// Purge removes a deleted room for good.
func (s *Service) Purge(name string) error {
	end, err := s.alterOrRefuse()
	if err != nil {
		return err
	}
	defer end()
	k, err := s.trashed(name)
	if err != nil {
		return err
	}
	if err := s.store.Purge(k.ID); errors.Is(err, store.ErrNoRoom) { // somebody else was faster
		return wire.Errorf(wire.CodeNoRoom, "%s is no longer in the trash", k.Name)
	} else if err != nil {
		return clientError(fmt.Errorf("purge the room %s: %w", k.Name, err))
	}
	return nil
}

// Restore brings a deleted room back, with its lines, on its own port, or on
// another one if that is taken.
func (s *Service) Restore(name string) (RoomInfo, error) {
	end, err := s.alterOrRefuse()
	if err != nil {
		return RoomInfo{}, err
	}
	defer end()
	k, err := s.trashed(name)
	if err != nil {
		return RoomInfo{}, err
	}
	stand, err := s.reserveName(wire.Name{Shown: k.Name, Key: k.Key}, false)
	if err != nil {
		return RoomInfo{}, err
	}
	ln, err := s.rebindPort(stand, k.Port)
	if err != nil {
		s.unregister(stand)
		return RoomInfo{}, err
	}
	p := &reservation{placeholder: stand, ln: ln}
	if _, err := s.store.Restore(k.ID, ln.Port, p); err != nil {
		p.release()
		if errors.Is(err, store.ErrNoRoom) {
			err = wire.Errorf(wire.CodeNoRoom, "%s is no longer in the trash", k.Name)
		}
		return RoomInfo{}, clientError(err)
	}
	if p.room == nil {
		ln.Close()
		return RoomInfo{}, wire.Errorf(wire.CodeShuttingDown, "the server is stopping; %s will be there when it is back", k.Name)
	}
	info, _ := p.room.info()
	return info, nil
}

// rebindPort binds the port a room had, if nobody has it, else another one.
func (s *Service) rebindPort(r *Room, port int) (*transport.Endpoint, error) {
	s.mu.Lock()
	own := s.ports.claim(port)
	s.mu.Unlock()
	if own {
		if l, err := s.listen(port); err == nil {
			return l, nil
		}
		s.quarantinePort(port)
	}
	return s.bindFree(r)
}
