package roomlog

// Format is a form in which the log is rendered.
type Format uint8

const (
	Text Format = iota
	JSON
	Formats // how many there are
)

// String returns the name of the format.
func (f Format) String() string { return [Formats]string{"text", "JSON"}[f] }

// Rendered is an event's bytes in each format. Without bytes in a format, its readers do not see the
// event.
type Rendered [Formats][]byte
