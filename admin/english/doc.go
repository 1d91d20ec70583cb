// Package english has what all texts for people share: a counted noun, a time with
// days, the word that somebody may have meant. It knows nothing of what the texts
// are about, and has no state.
package english
