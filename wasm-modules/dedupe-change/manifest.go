package main

// manifest is what the module says of itself. A constant: package embed would make the module a seventh larger.
const manifest = `abi = 1
name = "dedupe-change"
version = "1.0.0"
about = "lets pass what has changed, and drops what says the same again"
labels = ["*"]
payload = "pull"
state = "explicit"
state_version = 1
reasons = ["unchanged"]

[[config]]
name = "fields"
type = "array"
required = true
help = "what is compared: label:NAME or field:PATH of a JSON payload, each with its deadband behind a bar: label:temp|0.5, field:drive.rpm|2%"

[[config]]
name = "key"
type = "string"
default = ""
help = "whose values they are: label:NAME or field:PATH; empty = all records of the stream are of one"

[[config]]
name = "max_silence"
type = "string"
default = "0s"
help = "time after which a record passes although nothing has changed; 0s = never"
`
