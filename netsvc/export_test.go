package netsvc

// DeleteIf is the deletion by a client, for tests outside the package.
func (s *Service) DeleteIf(name string, allowed func(*Room) error) error {
	end, err := s.beginChange()
	if err != nil {
		return err
	}
	return s.deleteRoom(end, name, "", "", "", allowed)
}
