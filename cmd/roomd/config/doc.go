// Package config is the configuration of roomd: one table of keys (keys.go), read
// strictly. It is the only importer of the TOML package.
//
// Parse reads a text, Load and LoadKeys (load.go) find the file first: Load for a command
// that goes by all of it, LoadKeys for one that needs some keys only. All mistakes are
// found at once, each with its line, its key, and what would be right (parse.go,
// values.go). Default is what holds without a file; config.toml at the top of the
// repository says the same, by test.
//
// ApplyReload compares the configuration in effect with a file that was read again, and takes
// over the keys that a reload changes (diff.go). Risks and FitDescriptors say what a
// configuration amounts to on this machine (exposure.go, ports.go, descriptors.go).
//
// The package opens no socket and no database, and does not know what a room is: it
// imports the rules that values follow, names from wire and networks from netsvc, and
// how times are written. It has no goroutines and no locks: a Config is a plain struct,
// and once several goroutines have it, none of them changes it.
package config
