package config

// Difference is a key with different values in two configurations.
type Difference struct {
	Key, From, To string
	Effect        Effect
}

// ApplyReload sets the keys that a reload may change to their values in file. It returns
// every key that differs, in the order of config.toml.
func (c *Config) ApplyReload(file *Config) (differs []Difference) {
	for _, k := range keys {
		from, to := k.format(c), k.format(file)
		if from == to {
			continue
		}
		if k.effect == OnReload {
			k.copy(c, file)
		}
		differs = append(differs, Difference{k.name, k.shown(from), k.shown(to), k.effect})
	}
	return differs
}
