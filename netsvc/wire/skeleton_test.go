package wire

import (
	"testing"
	"unicode"
)

func TestConfusables(t *testing.T) {
	if n := len(confusables); n != 1633 {
		t.Errorf("the table has %d characters", n)
	}
	for r, to := range confusables {
		if to == "" || to == string(r) {
			t.Errorf("%U looks like %q", r, to)
		}
		if again := prototype(to); again != to {
			t.Errorf("%U looks like %q, and that like %q", r, to, again)
		}
	}
	if unicode.Version != "15.0.0" {
		t.Errorf("package unicode is of %s: make the table from that version, too (go generate)", unicode.Version)
	}
}

func TestIsConfusable(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"Max", "Мах", true}, {"max", "Мах", true}, {"MAX", "МАХ", true}, {"mAx", "МАХ", true},
		{"Max", "мах", false}, // as it is shown, it is another word
		{"paypal", "раураӏ", false}, {"scope", "ѕсоре", true}, {"Scope", "ЅСОРЕ", true},
		{"ovv", "оѵѵ", true}, {"cc", "сс", true}, {"ANNA", "ΑΝΝΑ", true}, {"KATE", "КАТЕ", true}, {"ΚΑΤΕ", "КАТЕ", true},
		{"bob", "b0b", false}, {"modern", "modem", false}, {"guest-1", "guest-l", false}, // of one script
		{"ɑnn", "ann", false}, {"max", "max", false}, {"Max", "Мах2", false}, {"Мах", "мах", false},
		{"オ", "才", false}, {"工", "エ", false}, {"カ", "力", false}, // Japanese has both
		{"00", "OO", false}, // digits are of any script
		{"ｍａｘ", "Мах", true},
	} {
		a, err := ParseName(c.a)
		if err != nil {
			t.Errorf("%s: %v", c.a, err)
		}
		b, err := ParseName(c.b)
		if err != nil {
			t.Errorf("%s: %v", c.b, err)
		}
		if a.IsConfusable(b) != c.want || b.IsConfusable(a) != c.want {
			t.Errorf("%s (%q) imitates %s (%q): %v", c.a, a.Skeleton(), c.b, b.Skeleton(), !c.want)
		}
		if c.want && a.IsLatin() && b.IsLatin() {
			t.Errorf("%s and %s are both Latin", c.a, c.b)
		}
	}
}

// The skeletons of ASCII names are the same as by the table.
func TestSkeletonOfASCII(t *testing.T) {
	const all = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_."
	names := []string{all[:32], all[32:], "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM"}
	for _, c := range all {
		names = append(names, string(c))
	}
	for _, s := range names {
		n := Name{s, lowerASCII(s)}
		if got, want := n.Skeleton(), prototype(Fold(prototype(s))); got != want {
			t.Errorf("%s: %q, and not %q", s, got, want)
		}
	}
}

// The skeleton of a skeleton is that skeleton in small letters.
func TestSkeletonIsStable(t *testing.T) {
	names := 0
	for r := rune(0); r < 0x30000; r++ {
		n, err := ParseName(string(r))
		if err != nil {
			continue
		}
		names++
		if n.IsLatin() != (n.scripts().intersect(latin) != nil) {
			t.Errorf("%U is Latin: %v", r, n.IsLatin())
		}
		if look := n.Skeleton(); prototype(Fold(look)) != look {
			t.Errorf("%U looks like %q, and that like %q", r, look, prototype(Fold(look)))
		}
	}
	if names < 10_000 {
		t.Error("there are only", names)
	}
}

func TestNumeric(t *testing.T) {
	for s, want := range map[string]bool{
		"7": true, "007": true, "1.2.3.4": true, "127.1": true, "0x7f.1": true, "1..2": true, "٣٤": true, "0b1": true,
		"7up": false, "v1": false, "1-2": false, "0xfg": false, "a": false, "1.2.3.d": false,
	} {
		if got := IsNumeric(s); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

func BenchmarkSkeleton(b *testing.B) {
	for what, s := range map[string]string{"Latin": "Maximilian", "Cyrillic": "Максимилиан"} {
		n, err := ParseName(s)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n.Skeleton()
			}
		})
	}
}
