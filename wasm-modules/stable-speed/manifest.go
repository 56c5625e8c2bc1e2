package main

// manifest is what the module says of itself. A constant: package embed would make the module a seventh larger.
const manifest = `abi = 1
name = "stable-speed"
version = "1.0.0"
about = "lets pass what was recorded while the machine ran at a stable speed"
labels = ["rpm", "prod_speed", "speed"]
payload = "pull"
state = "explicit"
state_version = 2
reasons = ["missing-label", "out-of-band", "unsteady", "settling"]

[[config]]
name = "label"
type = "string"
default = "rpm"
help = "label that holds the speed; rpm, prod_speed and speed cost least"

[[config]]
name = "field"
type = "string"
default = ""
help = "field of a JSON payload that holds the speed, such as drive.rpm; used instead of the label when set"

[[config]]
name = "min"
type = "float"
default = 0.0
help = "lowest speed of the band; standstill is never in it"

[[config]]
name = "max"
type = "float"
default = 0.0
help = "highest speed of the band; 0 = no limit"

[[config]]
name = "tolerance"
type = "float"
default = 0.02
help = "the speed is steady while (highest - lowest) / mean over the window is at most this"

[[config]]
name = "window"
type = "string"
default = "10s"
help = "time over which the speed is looked at"

[[config]]
name = "hold"
type = "string"
default = "5s"
help = "time that the speed has to have been steady before records pass"

[[config]]
name = "gap"
type = "string"
default = "0s"
help = "silence after which the speed has to settle anew; 0s = the window"
`
