//go:build ignore

// Confusables_gen makes confusables.txt of the file of the same name in
// https://www.unicode.org/Public/security/VERSION/, of the Unicode version that package
// unicode has. It leaves out the characters that cannot be in a name, and those that
// decomposition maps. The result is one of its own input files, too.
//
//	go run confusables_gen.go /path/to/confusables.txt
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

func main() {
	log.SetFlags(0)
	in, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if !bytes.Contains(in, []byte("\n# Version: "+unicode.Version+"\n")) {
		log.Fatalf("%s is not of Unicode %s", os.Args[1], unicode.Version)
	}
	to := make(map[rune]string)
	for lines := bufio.NewScanner(bytes.NewReader(in)); lines.Scan(); {
		line, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "\ufeff"), "#")
		fields := strings.Split(line, ";")
		if len(fields) < 2 {
			continue
		}
		from := []rune(characters(fields[0]))
		if len(from) == 1 && inNames(from[0]) {
			to[from[0]] = norm.NFD.String(characters(fields[1]))
		}
	}
	for again := true; again; { // a character may look like one that looks like another one
		again = false
		for r, s := range to {
			var b strings.Builder
			for _, c := range s {
				if next, ok := to[c]; ok {
					b.WriteString(next)
				} else {
					b.WriteRune(c)
				}
			}
			if next := norm.NFD.String(b.String()); next != s {
				to[r], again = next, true
			}
		}
	}
	out := bytes.NewBufferString("# Made by confusables_gen.go of Unicode's confusables.txt: do not edit.\n#\n" +
		"# Each line is a character of names, and the characters that it looks like.\n#\n# Version: " + unicode.Version + "\n#\n" +
		"# Unicode Security Mechanisms for UTS #39. (c) 2022 Unicode, Inc. All rights reserved. It may\n" +
		"# be used and distributed under the Unicode License, https://www.unicode.org/license.txt.\n\n")
	for _, r := range slices.Sorted(maps.Keys(to)) {
		fmt.Fprintf(out, "%04X ; %s\n", r, strings.Trim(fmt.Sprintf("%04X", []rune(to[r])), "[]"))
	}
	if err := os.WriteFile("confusables.txt", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// characters are those that stand in a field as hexadecimal numbers.
func characters(field string) string {
	var b strings.Builder
	for _, f := range strings.Fields(field) {
		n, err := strconv.ParseUint(f, 16, 32)
		if err != nil {
			log.Fatal(err)
		}
		b.WriteRune(rune(n))
	}
	return b.String()
}

// inNames reports whether a character may stand in a name that is folded by width
// and decomposed.
func inNames(r rune) bool {
	s := string(r)
	_, err := precis.NewIdentifier().String(s)
	if err != nil {
		_, err = precis.UsernameCaseMapped.String(s) // in small letters it may
	}
	return err == nil && unicode.In(r, unicode.L, unicode.M, unicode.Nd) && norm.NFD.String(s) == s && width.Fold.String(s) == s
}
