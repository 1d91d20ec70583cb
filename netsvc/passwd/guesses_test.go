package passwd

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roomd/netsvc/limit"
)

func TestGuessesAreBounded(t *testing.T) {
	var g Guesses
	kept := g.use(netip.MustParsePrefix("192.0.2.1/32"))
	for i := range 2 * limit.MaxPrefixes {
		u := g.use(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
		u.failed(time.Now())
		g.unuse(u)
	}
	if n := len(g.guessers); n > limit.MaxPrefixes {
		t.Error(n, "addresses are remembered")
	}
	if g.use(netip.MustParsePrefix("192.0.2.1/32")) != kept {
		t.Error("one that is in use was forgotten")
	}
	u := &guesser{}
	now := time.Unix(0, 0)
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 240, 240, 240} {
		if wait := u.failed(now); wait != want*guessDelay {
			t.Errorf("after %d: %v", i+1, wait)
		}
	}
	if wait := u.failed(now.Add(2 * guessMemory)); wait != guessDelay {
		t.Errorf("after a long time: %v", wait)
	}
}

// guessers are guesses that passwords are given to, in synthetic time.
type guessers struct {
	t *testing.T
	g *Guesses
	p *Password
	// suspend is closed when the server is to stand still.
	freeze chan struct{}
}

func (g guessers) begin(ctx context.Context, a netip.Addr) (*guess, error) {
	return g.g.begin(ctx, g.freeze, g.p, a)
}

// give lets an address give a password, and reports whether it was looked at.
func (g guessers) give(a netip.Addr, right bool) (looked bool) {
	g.t.Helper()
	u, err := g.begin(g.t.Context(), a)
	var held Throttled
	switch {
	case errors.As(err, &held):
		return false
	case err != nil:
		g.t.Error(err)
		return false
	}
	g.g.finish(time.Now(), u, true, right)
	return true
}

// attack lets addresses guess for a time, so many side by side and each as often as
// it may, and returns how many of their passwords were looked at.
func (g guessers) attack(d time.Duration, addr func(n int) netip.Addr, addrs int) (looked int) {
	var mu sync.Mutex
	n, end := 0, time.Now().Add(d)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for time.Now().Before(end) {
				mu.Lock()
				a := addr(n % addrs)
				n++
				mu.Unlock()
				if g.give(a, false) {
					mu.Lock()
					looked++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return looked
}

func inSynctest(t *testing.T, f func(g guessers)) {
	synctest.Test(t, func(t *testing.T) {
		f(guessers{t, new(Guesses), FromHash("x"), make(chan struct{})})
	})
}

// sixes are the /64s of a /48, and of further ones behind it.
func sixes(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 15: 1})
}

// What an address has around it costs as much as it does itself: the 65,536
// networks (/64) of one /48 gave 100,000 passwords in 14 s. A botnet, each address
// in a network of its own, is bounded by the room.
func TestGuessesFromNetworks(t *testing.T) {
	const quarter = 900
	for what, c := range map[string]struct {
		addr  func(n int) netip.Addr
		addrs int
		most  float64 // that is looked at in a quarter of an hour
	}{
		"an address":         {func(int) netip.Addr { return sixes(0) }, 1, 8 + 15},
		"a /64":              {func(n int) netip.Addr { a := sixes(0).As16(); a[14] = byte(n); return netip.AddrFrom16(a) }, 256, 8 + 15},
		"a /56":              {sixes, 256, guessesNear.Burst + quarter*guessesNear.PerSecond},
		"a /48":              {sixes, 1 << 16, guessesWide.Burst + quarter*guessesWide.PerSecond},
		"a /24 of IPv4":      {func(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }, 256, guessesNear.Burst + quarter*guessesNear.PerSecond},
		"a /24 of IPv4-in-6": {func(n int) netip.Addr { return netip.AddrFrom16(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}).As16()) }, 256, guessesNear.Burst + quarter*guessesNear.PerSecond},
		"a botnet of /48s":   {func(n int) netip.Addr { return sixes(n << 16) }, 1 << 14, guessesRoom.Burst + quarter*guessesRoom.PerSecond},
		"a botnet of IPv4":   {func(n int) netip.Addr { return netip.AddrFrom4([4]byte{byte(n >> 8), byte(n), 1, 1}) }, 1 << 16, guessesRoom.Burst + quarter*guessesRoom.PerSecond},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			inSynctest(t, func(g guessers) {
				looked := g.attack(15*time.Minute, c.addr, c.addrs)
				if float64(looked) > c.most+1 || float64(looked) < c.most/3 {
					t.Errorf("%d passwords are looked at in a quarter of an hour, and not about %v at most", looked, c.most)
				}
				// Five digits last a week at least, eight letters for ever.
				if days := 1e5 / guessesRoom.PerSecond / (24 * 3600); days < 7 {
					t.Errorf("five digits last %.1f days", days)
				}
			})
		})
	}
}

// Whoever was inside is looked at during any attack, for a week; strangers that have
// given no wrong password have a part that those that have cannot use up. After an
// attack from the same network each has its time again.
func TestInsidersAreNotKeptOut(t *testing.T) {
	inSynctest(t, func(g guessers) {
		near, far := netip.MustParseAddr("2001:db8:0:5::1"), netip.MustParseAddr("198.51.100.7")
		for _, a := range []netip.Addr{near, far} {
			if !g.give(a, true) {
				t.Fatal("the first is not looked at")
			}
			g.g.Remember(time.Now(), g.p, a, 1)
		}
		g.attack(time.Minute, sixes, 1<<16)
		fresh := netip.MustParseAddr("203.0.113.1")
		if !g.give(fresh, true) {
			t.Error("one /48 keeps strangers out")
		}
		g.attack(time.Minute, func(n int) netip.Addr { return sixes(n << 16) }, 1<<14)
		if g.give(fresh, true) {
			t.Error("strangers have no bound")
		}
		for _, a := range []netip.Addr{near, far} {
			for range 100 {
				if !g.give(a, true) {
					t.Fatal("who was inside is kept out: ", a)
				}
			}
		}
		if guess, err := g.begin(t.Context(), near); err != nil || guess.rank() != formerMember {
			t.Error("who was inside does not go first:", err)
		} else {
			g.g.finish(time.Now(), guess, false, false)
		}
		time.Sleep(memberMemory)
		if !g.give(fresh, true) {
			t.Error("it has no end")
		}
		g.attack(time.Minute, func(n int) netip.Addr { return sixes(n << 16) }, 1<<14)
		if g.give(far, true) {
			t.Error("it is known for ever")
		}
	})
}

// Right passwords, and those that are not compared, cost nothing, however many come
// from one network.
func TestRightPasswordsCostNothing(t *testing.T) {
	inSynctest(t, func(g guessers) {
		for n := range 10_000 {
			if !g.give(sixes(n%512), true) {
				t.Fatalf("number %d has to wait", n)
			}
		}
		u, err := g.begin(t.Context(), sixes(0))
		if err != nil {
			t.Fatal(err)
		}
		g.g.finish(time.Now(), u, false, false)
		if u.guesser.wrong != 0 || g.p.fullAt.After(time.Now()) {
			t.Error("what is not compared counts")
		}
		for p := range g.g.networks.Debts(time.Now()) {
			t.Error(p, "has paid")
		}
	})
}

// What is known of a room's addresses is bounded; those that were inside last stay.
func TestInsideIsBounded(t *testing.T) {
	var g Guesses
	p, now := FromHash("x"), time.Unix(1000, 0)
	for n := range 2000 {
		g.Remember(now.Add(time.Duration(n)), p, sixes(n), 64)
	}
	if n := len(p.members); n != limit.MaxPrefixes/64 {
		t.Errorf("%d are known", n)
	}
	if _, known := p.members[limit.Prefix(sixes(1999))]; !known {
		t.Error("the last is not known")
	}
	if _, known := p.members[limit.Prefix(sixes(1999-limit.MaxPrefixes/64))]; known {
		t.Error("an old one is known still")
	}
	g.Remember(now, p, sixes(5000), 1<<20)
	if n := len(p.members); n > limit.MaxPrefixes/64 {
		t.Errorf("%d are known", n)
	}
}

// What is handed over is the same on the other side, and there may be much of it.
func TestGuessesAreHandedOver(t *testing.T) {
	inSynctest(t, func(g guessers) {
		four := netip.MustParseAddr("192.0.2.7")
		for range 3 {
			g.give(four, false)
		}
		for n := range limit.MaxPrefixes {
			g.g.Remember(time.Now(), g.p, sixes(n), 1)
		}
		g.attack(time.Minute, sixes, 1000)
		guesses, paid := g.g.State(time.Now())
		inside, guessed := g.g.RoomState(g.p)
		if n := len(inside); n != limit.MaxPrefixes*recordBytes {
			t.Errorf("%d bytes of addresses that were inside", n)
		}
		// As JSON, as it goes.
		b, err := json.Marshal([]Records{guesses, paid, inside})
		if err != nil {
			t.Fatal(err)
		}
		var got []Records
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		var to Guesses
		p := FromHash("x")
		to.Restore(got[0], got[1])
		to.RestoreRoom(p, got[2], guessed)
		again, paidAgain := to.State(time.Now())
		insideAgain, guessedAgain := to.RoomState(p)
		for i, both := range [][2]Records{{guesses, again}, {paid, paidAgain}, {inside, insideAgain}} {
			was, is := both[0].sorted(), both[1].sorted()
			if !slices.Equal(was, is) || len(was) == 0 {
				t.Errorf("%d: %d are handed over, and %d are there", i, len(was), len(is))
			}
		}
		if !guessedAgain.Equal(guessed) {
			t.Error("the room has paid", guessed, guessedAgain)
		}
		was, is := g.g.guessers[limit.Prefix(four)], to.guessers[limit.Prefix(four)]
		if is == nil || is.wrong != 3 || !is.notBefore.Equal(was.notBefore) || to.networks.FullAt(networks(four)[0].prefix).IsZero() {
			t.Errorf("%+v is %+v", was, is)
		}
	})
}

// sorted are the notes one by one.
func (b Records) sorted() (all []string) {
	for part := range slices.Chunk(b, recordBytes) {
		all = append(all, string(part))
	}
	slices.Sort(all)
	return all
}

// A server that is to stand still does not wait for a guess that is held, or for the
// turn of one.
func TestGuessesStandStill(t *testing.T) {
	inSynctest(t, func(g guessers) {
		a := sixes(1)
		for range 5 {
			g.give(a, false)
		}
		u, err := g.begin(t.Context(), sixes(2<<16))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []netip.Addr{a, sixes(2 << 16)} {
			go func() {
				if _, err := g.begin(context.Background(), a); err != ErrSuspended {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		close(g.freeze)
		synctest.Wait()
		g.g.finish(time.Now(), u, true, false)
	})
}
