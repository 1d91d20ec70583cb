// Package config is the configuration of roomd: one table of keys (keys.go), read strictly.
// No other package imports the TOML package.
//
// Parse reads a text. Load and LoadKeys (load.go) find the file first: Load for a command
// that needs all keys, LoadKeys for one that needs some. All mistakes are reported at once,
// each with its line, its key and a correction (parse.go, values.go). Default is the
// configuration without a file; a test compares it with config.toml of the repository.
//
// ApplyReload compares the configuration in effect with a file that was read again, and
// applies the keys that a reload may change (reload.go). Risks and FitDescriptors find the
// problems of a configuration on this machine (risks.go, descriptors.go).
//
// The package opens no socket and no database. It imports the rules of values: names from
// wire, networks from netsvc, ranges and times from admin/value. It has no goroutines and
// no locks: a Config is a plain struct, and once several goroutines use one, none changes it.
package config
