package irc

import (
	"bytes"
	"math"
	"strconv"

	"roomd/netsvc"
)

// Labels (https://ircv3.net/specs/extensions/labeled-response). Every request with a label has one
// answer with it:
//
//   - what is in client.out at the end of the command: see client.answer
//   - the client's own line in the log of a room, or its refusal: ownAnswer
//   - parts in the stream of a member: labeledParts
//   - the batch of CHATHISTORY, which bears the label itself
//   - else ACK
//
// Of a request with several rooms or nicks the answer about the first one has the label: the others
// come in streams between which there is no order. QUIT, and what ends a session, is not labelled.

// maxLabel is the greatest length of a label in bytes. Longer ones are ignored.
const maxLabel = 64

// noteLabel notes the label of a message, unless it has been answered before the command had to wait.
func (c *client) noteLabel(m *Message) {
	c.label = ""
	if c.done > 0 && c.long == nil || !c.caps.Enabled.labels() {
		return
	}
	if label, _ := m.Tag("label"); len(label) <= maxLabel {
		c.label = label
	}
}

// takeLabel returns the label that has to be answered, and has nothing else answer it.
func (c *client) takeLabel() string {
	label := c.label
	c.label = ""
	return label
}

// ownAnswer returns the label of an answer that comes in the stream of a member; nil: there is none.
func (c *client) ownAnswer() netsvc.Label {
	label := c.takeLabel()
	if label == "" {
		return nil
	}
	host, ref := c.server.host(), c.batchRef()
	return func(answer []byte) []byte { return appendLabeled(nil, host, label, ref, answer) }
}

// appendLabeled appends an answer with a label, in a batch if it has several lines.
func appendLabeled(b []byte, host, label, ref string, answer []byte) []byte {
	b = appendTag(b, "label", label)
	switch n := bytes.Count(answer, []byte("\n")); {
	case n == 0:
		return appendLine(b, host, "ACK")
	case n == 1:
		return appendTagged(b, answer)
	}
	b = appendLine(b, host, "BATCH", "+"+ref, "labeled-response")
	b = appendInBatch(b, ref, answer)
	return appendLine(b, host, "BATCH", "-"+ref)
}

// appendInBatch appends lines with the tag of a batch.
func appendInBatch(b []byte, ref string, lines []byte) []byte {
	for l := range bytes.Lines(lines) {
		b = appendTagged(appendTag(b, "batch", ref), l)
	}
	return b
}

// appendTagged appends a line behind tags that are begun.
func appendTagged(b, l []byte) []byte {
	if l[0] == '@' {
		return append(append(b, ';'), l[1:]...)
	}
	return append(append(b, ' '), l...)
}

// answerFirst answers the label of a request with several targets, after the first of them, unless
// something in the stream of a member does.
func (c *client) answerFirst() {
	if c.label != "" {
		c.answer(c.takeLabel())
		c.out = c.out[:0]
	}
}

// queue queues parts of an answer in the stream of a member.
func (c *client) queue(m *netsvc.Member, parts ...netsvc.Part) { m.Queue(c.labeledParts(parts)...) }

// labeledParts returns parts with the label of the request, if it has one: on their only line, or on
// a batch around them.
func (c *client) labeledParts(parts []netsvc.Part) []netsvc.Part {
	label := c.takeLabel()
	if label == "" {
		return parts
	}
	host, ref := c.server.host(), c.batchRef()
	if len(parts) == 1 && parts[0].Members == 0 && parts[0].Replay == nil && bytes.Count(parts[0].Bytes, []byte("\n")) <= 1 {
		return []netsvc.Part{{Bytes: appendLabeled(nil, host, label, ref, parts[0].Bytes)}}
	}
	all := []netsvc.Part{{Bytes: appendLine(appendTag(nil, "label", label), host, "BATCH", "+"+ref, "labeled-response")}}
	for _, p := range parts {
		p.Bytes = appendInBatch(nil, ref, p.Bytes)
		if p.Members != 0 {
			p.Members = styleInBatch(p.Members, ref)
		}
		if p.Replay != nil { // its lines are in a batch of their own
			r := *p.Replay
			r.Header, r.Footer = string(appendInBatch(nil, ref, []byte(r.Header))), string(appendInBatch(nil, ref, []byte(r.Footer)))
			p.Replay = &r
		}
		all = append(all, p)
	}
	return append(all, netsvc.Part{Bytes: appendLine(nil, host, "BATCH", "-"+ref)})
}

func styleInBatch(style int, ref string) int {
	n, err := strconv.Atoi(ref)
	if err != nil {
		panic(err) // references are numbers
	}
	return style | n<<styleBits
}

// batchOf returns a style without its batch, and the reference of that; "": none.
func batchOf(style int) (int, string) {
	if n := style >> styleBits; n > 0 {
		return style & (1<<styleBits - 1), strconv.Itoa(n)
	}
	return style, ""
}

// maxBatches is the last reference of a batch, after which they begin at 1 again.
const maxBatches = min(maxStyleRef, math.MaxUint32)

// batchRef returns a new reference of a batch.
func (c *client) batchRef() string {
	c.batches = c.batches%maxBatches + 1
	return strconv.FormatUint(uint64(c.batches), 10)
}
