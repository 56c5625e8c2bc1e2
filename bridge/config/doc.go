// Package config reads one TOML file into one struct. It knows nothing of what the keys mean: packages own their Config structs (toml
// tags, defaults, Validate), and the caller puts them together into one.
//
// A file is read in five steps, and every step goes on after an error, so that all of them are told at once, each with file and line:
// parse (the toml library), find the line of each key (lines.go), decode on top of the defaults (decode.go; unknown keys are errors),
// expand ${VAR} inside string values and read *_file secrets (text.go), validate (validate.go).
//
// Start reading at Load.
package config
