package roomlog

// Format is a form in which the log is rendered.
type Format uint8

const (
	Text Format = iota
	JSON
	// IRC is the first format of IRC: there is one for each set of capabilities that changes what
	// a client gets of the log.
	IRC
	Formats = IRC + 6 // how many there are
)

var names = [Formats]string{"text", "JSON", "IRC", "IRC 1", "IRC 2", "IRC 3", "IRC 4", "IRC 5"}

// String returns the name of the format.
func (f Format) String() string { return names[f] }

// Rendered is an event's bytes in each format. Without bytes in a format, its readers do not see the
// event.
type Rendered [Formats][]byte
