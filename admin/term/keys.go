package term

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// A terminal can put marks around a paste (xterm, ctlseqs: bracketed paste mode). So a line
// end in a paste does not end the line, and a tab completes nothing.
const (
	pasteOn    = "\x1b[?2004h"
	pasteOff   = "\x1b[?2004l"
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// Control characters with a meaning here.
const (
	ctrlA     = 1
	ctrlC     = 3
	ctrlD     = 4
	ctrlE     = 5
	ctrlN     = 14
	enter     = 13
	ctrlP     = 16
	ctrlZ     = 26
	escape    = 27
	unitSep   = 31 // stands for an edit on its way through the library
	backspace = 127
)

// key is a key that was pressed.
type key struct {
	native  byte // a byte for the library; 0: the key is an edit
	edit    edit
	suspend bool
}

// controls maps control characters to edits.
var controls = map[byte]edit{
	2: moveLeft, 6: moveRight, 7: cancelSearch, 8: rubOut, '\t': complete, 11: killEnd, 12: clearScreen,
	18: searchBack, 20: transpose, 21: killBegin, 23: rubWord, 25: yank, backspace: rubOut,
}

// sequences maps the sequences of keys, without ESC: those of xterm, the Linux console,
// screen, tmux and rxvt.
var sequences = map[string]key{
	"[A": {native: ctrlP}, "OA": {native: ctrlP}, "[B": {native: ctrlN}, "OB": {native: ctrlN},
	"[D": {edit: moveLeft}, "OD": {edit: moveLeft}, "[C": {edit: moveRight}, "OC": {edit: moveRight},
	"[H": {native: ctrlA}, "OH": {native: ctrlA}, "[1~": {native: ctrlA}, "[7~": {native: ctrlA},
	"[F": {native: ctrlE}, "OF": {native: ctrlE}, "[4~": {native: ctrlE}, "[8~": {native: ctrlE},
	"[3~": {edit: deleteNext}, "[3;5~": {edit: killWord}, "[3;3~": {edit: killWord},
	"[1;5D": {edit: wordLeft}, "[5D": {edit: wordLeft}, "Od": {edit: wordLeft}, "[1;3D": {edit: wordLeft},
	"[1;5C": {edit: wordRight}, "[5C": {edit: wordRight}, "Oc": {edit: wordRight}, "[1;3C": {edit: wordRight},
	"b": {edit: wordLeft}, "f": {edit: wordRight}, "d": {edit: killWord}, "\x7f": {edit: rubWord}, "\b": {edit: rubWord},
	"OM": {native: enter},
}

// maxSequence bounds the length of a sequence.
const maxSequence = 32

// decoder decodes bytes to keys. An incomplete sequence stays in partial.
type decoder struct {
	partial []byte
	pasting bool
	pasted  []byte // pasted so far
}

// decode decodes the bytes of one read.
func (d *decoder) decode(in []byte) (keys []key) {
	if d.pasting && string(in) == string(rune(ctrlC)) {
		// The end mark of the paste was lost, and no key would work.
		*d = decoder{}
		return nil
	}
	in = append(d.partial, in...)
	d.partial = nil
	var text []rune
	flush := func() {
		if len(text) > 0 {
			typed := text
			keys = append(keys, key{edit: func(b *buffer) { b.insert(typed) }})
			text = nil
		}
	}
	for len(in) > 0 {
		if d.pasting {
			before, after, found := bytes.Cut(in, []byte(pasteEnd))
			if !found {
				n := markPrefix(before, pasteEnd)
				d.pasted = append(d.pasted, before[:len(before)-n]...)
				d.partial = bytes.Clone(before[len(before)-n:])
				break
			}
			pasted := string(append(d.pasted, before...))
			d.pasted, d.pasting, in = nil, false, after
			flush()
			keys = append(keys, key{edit: func(b *buffer) { b.paste(pasted) }})
			continue
		}
		switch b := in[0]; {
		case b == escape:
			n, whole := sequenceLength(in)
			if !whole {
				flush()
				d.partial = bytes.Clone(in)
				return keys
			}
			name := string(in[1:n])
			in = in[n:]
			if name == pasteBegin[1:] {
				d.pasting = true
			} else if k, ok := sequences[name]; ok {
				flush()
				keys = append(keys, k)
			}
		case b < ' ' || b == backspace:
			in = in[1:]
			flush()
			switch edit, ok := controls[b]; {
			case ok:
				keys = append(keys, key{edit: edit})
			case b == '\n':
				keys = append(keys, key{native: enter})
			case b == ctrlZ:
				keys = append(keys, key{suspend: true})
			case b == ctrlA, b == ctrlC, b == ctrlD, b == ctrlE, b == ctrlN, b == ctrlP, b == enter:
				keys = append(keys, key{native: b})
			}
		default:
			if !utf8.FullRune(in) {
				flush()
				d.partial = bytes.Clone(in)
				return keys
			}
			r, n := utf8.DecodeRune(in)
			in = in[n:]
			text = append(text, printable(r))
		}
	}
	flush()
	return keys
}

// markPrefix returns the number of bytes at the end of b that begin a mark.
func markPrefix(b []byte, mark string) int {
	for n := min(len(b), len(mark)-1); n > 0; n-- {
		if strings.HasPrefix(mark, string(b[len(b)-n:])) {
			return n
		}
	}
	return 0
}

// sequenceLength returns the length of the key at the beginning of in, whose first byte is ESC
// (ECMA-48, 5.4). A key after ESC belongs to it; of two ESC the first is a key without a
// meaning.
func sequenceLength(in []byte) (n int, whole bool) {
	switch {
	case len(in) < 2:
		return 0, false
	case in[1] == escape, in[1] < ' ' && in[1] != '\b':
		return 1, true
	case in[1] == 'O':
		if len(in) < 3 {
			return 0, false
		}
		if in[2] < ' ' || in[2] >= backspace {
			return 2, true
		}
		return 3, true
	case in[1] != '[':
		if !utf8.FullRune(in[1:]) {
			return 0, false
		}
		_, n := utf8.DecodeRune(in[1:])
		return 1 + n, true
	}
	for i := 2; i < len(in); i++ {
		switch b := in[i]; {
		case i > maxSequence, b < ' ', b >= backspace: // not a sequence
			return i, true
		case b >= '@':
			return i + 1, true
		}
	}
	return 0, false
}

// printable replaces characters that must not be in a line, such as those that stand for
// pastes.
func printable(r rune) rune {
	if r >= firstPasted || r == unitSep || r == 0 {
		return replacement
	}
	return r
}
