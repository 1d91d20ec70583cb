package transport

// Kept is how much memory the ciphertext takes that waits for the peer of a conn behind TLS
// on a loop.
func (c *Conn) Kept() int {
	k := c.stream.cipher
	k.mu.Lock()
	defer k.mu.Unlock()
	return cap(k.cipherUnsent)
}

// Answer writes what is no ciphertext, as TLS writes answers while it reads.
func (c *Conn) Answer(p []byte) error {
	_, err := c.stream.cipher.Write(p)
	return err
}

// Turns is how often the event loops have come round.
func (e *Engine) Turns() (n uint64) {
	for _, l := range e.loops.all {
		n += l.rounds.Load()
	}
	return n
}
