module example.org/roomd-bots

go 1.26.8

require roomd v0.0.0

// The server's module has no published path: name the folder of a checkout. `go work use . /path/to/roomd` does the same.
replace roomd => ../..
