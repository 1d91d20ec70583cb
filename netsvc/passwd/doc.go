// Package passwd is the passwords of rooms: how they are hashed and compared (Password), and how
// guessing is slowed down (Guesses). It knows no socket and no room. A caller that waits passes a
// context, and a channel that is closed when the server is suspended for an upgrade.
//
// # The way of a guess
//
// Check waits for the turn of the address: one of its passwords is compared at a time. Then the
// address must not have given a wrong password too recently, and the networks around it and the
// room must have a wrong password left (package limit). If they do not, the answer is Throttled
// after a second. Then the password is compared: with the tag of the right one, once that is known,
// which costs next to nothing, or with its hash, which takes 20 ms and 7 MiB and waits in a queue.
// Addresses that had a member in the room go first, those that have given wrong passwords go last.
// The charge for a right password is given back.
//
// # Memory
//
// A hash takes its 7 MiB from the heap. The queue lets half of the processors hash at a time, and
// 8 at most, so that up to 56 MiB are live. The rest is garbage, because the library takes new
// memory for each hash. The collector bounds it: the heap grows to about twice what is live, and
// goes back to the system some minutes after the last hash.
//
// # Locks
//
// Guesses.mu guards what is known of addresses and, in each Password, which addresses had members.
// The lock of the queue and those of package limit come after it. No lock is held while a goroutine
// waits. The package starts no goroutine.
package passwd
