// Package passwd is the passwords of rooms: how they are hashed and compared
// (Password), and how guessing is slowed down (Guesses). It knows no socket and no
// room; a caller that waits says so by a context, and by a channel that is closed
// when the server is suspended for an upgrade.
//
// # The way of a guess
//
// Check waits for the turn of the address that gives a password: one of its
// passwords is looked at at a time. Then the address must not have given a wrong
// one too recently, and the networks around it and the room must have a wrong
// password left (package limit). If they have not, the answer is Held after a
// second. Then the password is compared: against the tag of the right one, once
// that is known, which costs nothing, or by its hash, which takes 20 ms and 7 MiB
// and waits in a queue: addresses that were inside the room go first, those that
// have given wrong passwords last. What a right password has spent is given back.
//
// # Memory
//
// A hash takes its 7 MiB from the heap. The queue lets half of the processors hash
// at a time, and 8 at most, so that up to 56 MiB are live; what is behind is
// garbage, as the library takes new memory for each. It is bounded by the
// collector, as any is: the heap grows to about twice what is live, and the system
// has it back some minutes after the last hash.
//
// # Locks
//
// Guesses.mu guards what is known of addresses, and in each Password which
// addresses were inside. The lock of the queue and those of package limit come
// after it. None is held while somebody waits. The package starts no goroutine.
package passwd
