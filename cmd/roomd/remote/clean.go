package remote

import (
	"errors"
	"strings"

	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// CleanEvent is an event of a room, or an old line, as it may be printed: nothing in it can
// harm a terminal. Its Type is the server's.
func CleanEvent(ev client.Event) wire.Event {
	return wire.Event{
		Seq: ev.Seq, Time: ev.Time, Type: wire.Type(ev.Type), Members: ev.Members,
		From: wire.CleanString(ev.From), To: wire.CleanString(ev.To), Nick: wire.CleanString(ev.Nick), Text: wire.CleanString(ev.Text),
	}
}

// CleanError makes an error harmless to a terminal, each of its lines on its own: it may
// repeat text from a server. An error that is harmless, or nil, is returned as it is; of
// another one only the text is left.
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
