package main

// manifest is what the module says of itself. A constant: package embed would make the module a seventh larger.
const manifest = `abi = 1
name = "label-remap"
version = "1.0.0"
about = "renames, drops, sets and composes labels"
labels = ["*"]
payload = "none"
outputs_max = 1

[[config]]
name = "rename"
type = "table"
help = "names to new names: { rpm = \"speed\" }"

[[config]]
name = "drop"
type = "array"
help = "names of labels that go no further; a name that ends in * stands for all that begin with it"

[[config]]
name = "set"
type = "table"
help = "labels with a fixed value"

[[config]]
name = "template"
type = "table"
help = "labels composed of others under their old names: { channel = \"{device}-{axis}\" }; left out where one of them is missing"

[[config]]
name = "allow"
type = "array"
help = "when set, only labels of these new names go further; * as in drop"
`
