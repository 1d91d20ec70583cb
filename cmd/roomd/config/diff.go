package config

import "slices"

// Setting is a key and its value as text.
type Setting struct {
	Key, Value, Default string
	Effect              Effect // of another value
}

// Settings are the values of all keys, in the order of config.toml.
func (c *Config) Settings() []Setting {
	all, otherwise := make([]Setting, len(keys)), Default()
	for i, k := range keys {
		all[i] = Setting{k.name, k.format(c), k.format(otherwise), k.effect}
	}
	return all
}

// Value is the value of a key as text. There must be a key of that name.
func (c *Config) Value(name string) string {
	return keys[slices.IndexFunc(keys, func(k key) bool { return k.name == name })].format(c)
}

// Difference is a key whose value in one configuration is not the one in another.
type Difference struct {
	Key, From, To string
	Effect        Effect
}

// ApplyReload sets the keys that a reload changes to their values in file, and returns every
// key that differs, in the order of config.toml.
func (c *Config) ApplyReload(file *Config) (differs []Difference) {
	for _, k := range keys {
		from, to := k.format(c), k.format(file)
		if from == to {
			continue
		}
		if k.effect == OnReload {
			k.copy(c, file)
		}
		differs = append(differs, Difference{k.name, from, to, k.effect})
	}
	return differs
}
