package remote

import (
	"errors"
	"strings"

	"roomd/netsvc/wire"
)

// CleanError makes an error harmless to a terminal that may have in it what a server
// said, each of its lines on its own. An error that is harmless, or nil, stays what
// it is; of another one only the text is left.
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
