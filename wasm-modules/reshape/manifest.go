package main

// manifest is what the module says of itself. A constant: package embed would make the module a seventh larger.
const manifest = `abi = 1
name = "reshape"
version = "1.0.0"
about = "writes a new payload from a JSON payload's fields or a waveform's features, and labels"
labels = ["*"]
payload = "full"
outputs_max = 1
reasons = ["missing"]

[[config]]
name = "template"
type = "string"
required = true
help = "the new payload, with {{label:NAME}} {{field:PATH}} {{time}} {{entry}} {{type}} {{rms}} ... in it, each with |FORMAT where wanted"

[[config]]
name = "input"
type = "string"
default = "json"
help = "what the payload is: json, f32 or i16 (little-endian numbers)"

[[config]]
name = "topic"
type = "string"
default = ""
help = "template of what is put after the remote's topic"

[[config]]
name = "content_type"
type = "string"
default = "application/json"
help = "content type of the new payload; empty keeps the old one"

[[config]]
name = "scale"
type = "float"
default = 1.0
help = "what the numbers of an i16 waveform are multiplied by"

[[config]]
name = "missing"
type = "string"
default = "park"
help = "when a label or field is not there: park the record, drop it, or write null"
`
