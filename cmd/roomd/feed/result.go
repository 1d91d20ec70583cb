package feed

import (
	"fmt"
	"strings"
	"time"

	"roomd/admin/english"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/wire"
)

// recordUnsent notes a line that is not sent. While a feed goes on, each new reason is
// said at once.
func (s *sender) recordUnsent(number int, err error) {
	why := causeText(err)
	if r, fresh := s.unsent.add(number, why); fresh && s.display.Elapsed() > time.Second {
		r.reported = true
		s.display.Println("line %d: not sent: %s", number, why)
	}
}

// causeText is why a line was not sent. The server's sentences begin as ours do.
func causeText(err error) string {
	return strings.TrimPrefix(remote.CleanError(err).Error(), wire.NotSent)
}

// result says which lines are not in the room as they should be, if there are
// any. why is why it ended before the end of the input.
func (s *sender) result(why error) error {
	if len(s.truncated) > 0 {
		s.display.Println("%v: cut", s.truncated)
	}
	if why == nil && len(s.unsent) == 0 {
		return nil
	}
	var text strings.Builder
	missing := 0
	for _, e := range s.queue {
		s.unsent.add(e.number, "")
	}
	for _, r := range s.unsent {
		n := r.lines.count()
		switch missing += n; {
		case r.reported && n == 1: // and there is nothing to add
		case r.cause == "":
			fmt.Fprintf(&text, "%v: not sent\n", r.lines)
		default:
			fmt.Fprintf(&text, "%v: not sent: %s\n", r.lines, r.cause)
		}
	}
	if n := s.uncertain.count(); n > 0 {
		fmt.Fprintf(&text, "%v: in the room, or not\n", s.uncertain)
	}
	fmt.Fprintf(&text, "%s in the room", english.PluralAre(s.stored, "line"))
	if why == nil {
		return fmt.Errorf("%s, %d not", &text, missing)
	}
	return fmt.Errorf("%w\n%s, no more", why, &text)
}

// progressText is what a person who waits wants to know.
func (s *sender) progressText(upto int64) string {
	text := fmt.Sprintf("%s in the room, %d/s", english.PluralAre(s.stored, "line"), s.display.Rate(s.stored))
	if s.size > 0 {
		text += fmt.Sprintf(", %d %%", min(100*upto/s.size, 100))
	}
	return text
}
