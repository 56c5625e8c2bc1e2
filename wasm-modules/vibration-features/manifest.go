package main

// manifest is what the module says of itself. A constant: package embed would make the module a seventh larger.
const manifest = `abi = 1
name = "vibration-features"
version = "1.0.0"
about = "features of a vibration waveform: rms, peak, crest, skewness, kurtosis, energies of bands, lines of bearing faults in the envelope's spectrum"
labels = ["*"]
payload = "full"
outputs_max = 1
reasons = ["missing"]

[[config]]
name = "format"
type = "string"
default = "f32"
help = "numbers of the payload: f32, f64 or i16"

[[config]]
name = "order"
type = "string"
default = "little"
help = "order of a number's bytes: little or big"

[[config]]
name = "scale"
type = "float"
default = 1.0
help = "what the numbers are multiplied by"

[[config]]
name = "rate"
type = "float"
default = 0.0
help = "sample rate, Hz; 0 = from rate_label"

[[config]]
name = "rate_label"
type = "string"
default = ""
help = "label that holds the sample rate, Hz; before rate where the record has it"

[[config]]
name = "features"
type = "array"
default = ["rms", "peak", "crest", "skewness", "kurtosis"]
help = "of these and mean, which are given"

[[config]]
name = "bands"
type = "table"
help = "name = [from, to], Hz: energy_name is the mean square of what lies from the first to below the second"

[[config]]
name = "window"
type = "string"
default = "hann"
help = "window of the spectra: hann or boxcar"

[[config]]
name = "speed"
type = "float"
default = 0.0
help = "speed of the shaft, revolutions a minute; 0 = from speed_label"

[[config]]
name = "speed_label"
type = "string"
default = ""
help = "label that holds the speed, revolutions a minute; before speed where the record has it"

[[config]]
name = "speed_ratio"
type = "float"
default = 1.0
help = "what the speed is multiplied by: a gear, or 60 for a label in Hz"

[[config]]
name = "bearing"
type = "table"
help = "its geometry: balls, ball, pitch (diameters in one unit) and angle (degrees), or the orders bpfo, bpfi, bsf, ftf themselves"

[[config]]
name = "envelope_band"
type = "array"
help = "[from, to], Hz: the envelope is of what lies there; without, of all"

[[config]]
name = "tolerance"
type = "float"
default = 0.02
help = "how far from its computed frequency, as a part of it, a line is looked for"

[[config]]
name = "harmonics"
type = "int"
default = 1
help = "how many multiples of each bearing frequency are looked at"

[[config]]
name = "labels"
type = "bool"
default = false
help = "features become labels of the record"

[[config]]
name = "payload"
type = "string"
default = "json"
help = "json: the features become the payload; keep: the waveform stays; none: no payload"

[[config]]
name = "prefix"
type = "string"
default = ""
help = "put before the name of each feature"

[[config]]
name = "digits"
type = "int"
default = 6
help = "significant digits"

[[config]]
name = "tables"
type = "int"
default = 8
help = "MiB that the tables of spectra may take, about half of the module's memory; a record that needs more is parked"

[[config]]
name = "missing"
type = "string"
default = "park"
help = "when there is no sample rate or speed: park the record, drop it, or null: go without what needs it"
`
