package remote

import (
	"errors"
	"strings"

	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// CleanEvent makes an event of a room safe for a terminal. Its Type is not changed.
func CleanEvent(ev client.Event) wire.Event {
	return wire.Event{
		Seq: ev.Seq, Time: ev.Time, Type: wire.Type(ev.Type), Notice: ev.Notice, Members: ev.Members,
		From: wire.CleanString(ev.From), To: wire.CleanString(ev.To), Nick: wire.CleanString(ev.Nick), Text: wire.CleanString(ev.Text),
	}
}

// CleanError makes the text of an error safe for a terminal, line by line, because it may
// repeat text of a server. If that changes the text, the result is a new error without the
// chain of the old one.
func CleanError(err error) error {
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	for i, l := range lines {
		lines[i] = wire.CleanString(l)
	}
	if text := strings.Join(lines, "\n"); text != err.Error() {
		return errors.New(text)
	}
	return err
}
