package feed

import (
	"fmt"
	"strings"
	"time"

	"roomd/admin/english"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/wire"
)

// recordUnsent records a line that is not sent. While the feed runs, the first line of each
// cause is reported at once.
func (s *sender) recordUnsent(number int, err error) {
	cause := causeText(err)
	if r, fresh := s.unsent.add(number, cause); fresh && s.display.Elapsed() > time.Second {
		r.reported = true
		s.display.Println("line %d: not sent: %s", number, cause)
	}
}

// causeText returns why a line was not sent, without the prefix that the server puts before its
// own texts.
func causeText(err error) string {
	return strings.TrimPrefix(remote.CleanError(err).Error(), wire.NotSent)
}

// result returns an error that lists the lines that are not in the room, if there are any.
// cause is why the feed ended before the end of the input; nil: it did not.
func (s *sender) result(cause error) error {
	if len(s.truncated) > 0 {
		s.display.Println("%v: cut", s.truncated)
	}
	if cause == nil && len(s.unsent) == 0 {
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
		case r.reported && n == 1: // this line was reported already
		case r.cause == "":
			fmt.Fprintf(&text, "%v: not sent\n", r.lines)
		default:
			fmt.Fprintf(&text, "%v: not sent: %s\n", r.lines, r.cause)
		}
	}
	if n := s.uncertain.count(); n > 0 {
		fmt.Fprintf(&text, "%v: perhaps in the room, not confirmed\n", s.uncertain)
	}
	fmt.Fprintf(&text, "%s in the room", english.PluralAre(s.stored, "line"))
	if cause == nil {
		return fmt.Errorf("%s, %d not", &text, missing)
	}
	return fmt.Errorf("%w\n%s, no more", cause, &text)
}

// progressText is the progress line.
func (s *sender) progressText(upto int64) string {
	text := fmt.Sprintf("%s in the room, %d/s", english.PluralAre(s.stored, "line"), s.display.Rate(s.stored))
	if s.size > 0 {
		text += fmt.Sprintf(", %d %%", min(100*upto/s.size, 100))
	}
	return text
}
