package transport

// Kept is the memory of the unsent ciphertext of a conn behind TLS.
func (c *Conn) Kept() int {
	k := c.stream.cipher
	k.mu.Lock()
	defer k.mu.Unlock()
	return cap(k.cipherUnsent)
}

// Answer writes bytes beneath TLS, as tls.Conn.Read writes answers.
func (c *Conn) Answer(p []byte) error {
	_, err := c.stream.cipher.Write(p)
	return err
}

// Turns counts the rounds of all event loops.
func (e *Engine) Turns() (n uint64) {
	for _, l := range e.loops.all {
		n += l.rounds.Load()
	}
	return n
}
