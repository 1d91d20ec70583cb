// Package english has the common parts of texts for people: a number with its noun, and the
// word that was probably meant. It knows nothing of the subjects of the texts and has no
// state.
package english
