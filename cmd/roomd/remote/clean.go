package remote

import (
	"errors"
	"strings"

	"roomd/netsvc/wire"
)

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
