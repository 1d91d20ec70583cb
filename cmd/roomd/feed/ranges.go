package feed

import (
	"fmt"
	"slices"
	"strings"
)

// lineRanges are numbers of lines, in ascending order.
type lineRanges []lineRange

type lineRange struct{ first, last int }

func (s *lineRanges) add(n int) {
	if k := len(*s); k > 0 && (n == (*s)[k-1].last+1 || n == (*s)[k-1].last) {
		(*s)[k-1].last = n
		return
	}
	*s = append(*s, lineRange{n, n})
}

func (s lineRanges) count() (n int) {
	for _, p := range s {
		n += p.last - p.first + 1
	}
	return n
}

// String returns "line 3" or "lines 3, 7-9 and 12"; of many ranges only the first ones.
func (s lineRanges) String() string {
	const most = 20
	var words []string
	for _, p := range s[:min(len(s), most)] {
		if p.first == p.last {
			words = append(words, fmt.Sprint(p.first))
		} else {
			words = append(words, fmt.Sprintf("%d-%d", p.first, p.last))
		}
	}
	if len(s) > most {
		words = append(words, fmt.Sprintf("%d more", len(s)-most))
	}
	if len(s) == 1 && s[0].first == s[0].last {
		return "line " + words[0]
	}
	if n := len(words); n > 1 {
		words = append(words[:n-2], words[n-2]+" and "+words[n-1])
	}
	return "lines " + strings.Join(words, ", ")
}

// unsentLines are the lines that were not sent, grouped by cause, in the order of the first lines.
type unsentLines []*unsentGroup

type unsentGroup struct {
	cause    string // empty: the feed ended before the line
	lines    lineRanges
	reported bool // the first line was reported
}

// add records a line, and returns its group and whether the group is new.
func (r *unsentLines) add(number int, cause string) (of *unsentGroup, fresh bool) {
	known := func() int { return slices.IndexFunc(*r, func(o *unsentGroup) bool { return o.cause == cause }) }
	i := known()
	if fresh = i < 0; fresh {
		const most = 100
		if len(*r) >= most {
			cause = "other causes"
			i = known()
		}
		if i < 0 {
			i = len(*r)
			*r = append(*r, &unsentGroup{cause: cause})
		}
	}
	of = (*r)[i]
	of.lines.add(number)
	return of, fresh
}
