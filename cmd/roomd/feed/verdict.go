package feed

import (
	"fmt"
	"strings"
	"time"

	"roomd/admin/english"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/wire"
)

// lose notes a line that is not sent. While a feed goes on, each new reason is
// said at once.
func (s *sender) lose(number int, err error) {
	why := reasonOf(err)
	if r, fresh := s.lost.add(number, why); fresh && s.display.Elapsed() > time.Second {
		r.told = true
		s.display.Say("line %d: not sent: %s", number, why)
	}
}

// reasonOf is why a line was not sent. The server's sentences begin as ours do.
func reasonOf(err error) string {
	return strings.TrimPrefix(remote.CleanError(err).Error(), wire.NotSent)
}

// verdict says which lines are not in the room as they should be, if there are
// any. why is why it ended before the end of the input.
func (s *sender) verdict(why error) error {
	if len(s.cut) > 0 {
		s.display.Say("%v: cut", s.cut)
	}
	if why == nil && len(s.lost) == 0 {
		return nil
	}
	var text strings.Builder
	missing := 0
	for _, e := range s.queue {
		s.lost.add(e.number, "")
	}
	for _, r := range s.lost {
		n := r.lines.count()
		switch missing += n; {
		case r.told && n == 1: // and there is nothing to add
		case r.why == "":
			fmt.Fprintf(&text, "%v: not sent\n", r.lines)
		default:
			fmt.Fprintf(&text, "%v: not sent: %s\n", r.lines, r.why)
		}
	}
	if n := s.unsure.count(); n > 0 {
		fmt.Fprintf(&text, "%v: in the room, or not\n", s.unsure)
	}
	fmt.Fprintf(&text, "%s in the room", english.Are(s.there, "line"))
	if why == nil {
		return fmt.Errorf("%s, %d not", &text, missing)
	}
	return fmt.Errorf("%w\n%s, no more", why, &text)
}

// howFar is what a person who waits wants to know.
func (s *sender) howFar(upto int64) string {
	text := fmt.Sprintf("%s in the room, %d/s", english.Are(s.there, "line"), s.display.Rate(s.there))
	if s.size > 0 {
		text += fmt.Sprintf(", %d %%", min(100*upto/s.size, 100))
	}
	return text
}
