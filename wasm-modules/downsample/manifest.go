package main

// manifest is what the module says of itself. A constant: package embed would make the module a seventh larger.
const manifest = `abi = 1
name = "downsample"
version = "1.0.0"
about = "makes one record of each window of time and key: the last, least, greatest and mean value of each field, and an alarm"
labels = ["*"]
payload = "pull"
outputs_max = 65535
state = "explicit"
state_version = 1
reasons = ["too-late", "no-fields", "missing-key"]

[[config]]
name = "fields"
type = "array"
required = true
help = "what is gathered: label:NAME or field:PATH of a JSON payload, each with what is made of it behind a bar: field:fuel|last,min,max,mean,count; last without"

[[config]]
name = "key"
type = "string"
default = ""
help = "whose values they are: label:NAME or field:PATH; empty = all records of the stream are of one"

[[config]]
name = "window"
type = "string"
default = "1m"
help = "length of a window; windows begin at multiples of it since 1970"

[[config]]
name = "lateness"
type = "string"
default = "5s"
help = "a window is given out when a record of its key is so much younger than the window's end"

[[config]]
name = "revise"
type = "string"
default = "1m"
help = "records that come after that are taken for so much longer, and the window is then given out once more"

[[config]]
name = "idle"
type = "string"
default = "1h"
help = "a window is given out as well when any record of the stream is so much younger than its end; 0s = only by its own key's"

[[config]]
name = "output"
type = "string"
default = "json"
help = "json: a new payload; labels: labels and no payload"

[[config]]
name = "time"
type = "string"
default = "start"
help = "time of what is given out: start or end of the window, or record: that of the record that ended it"

[[config]]
name = "missing"
type = "string"
default = "park"
help = "when the key is not there: park the record, or drop it"

[[config]]
name = "alarm_field"
type = "string"
default = ""
help = "one of fields, without bar; alarm is true where its value is below alarm_below or above alarm_above"

[[config]]
name = "alarm_of"
type = "string"
default = "last"
help = "which of its values: last, min, max or mean"

[[config]]
name = "alarm_below"
type = "float"
help = "lowest value without an alarm; none where it is not set"

[[config]]
name = "alarm_above"
type = "float"
help = "highest value without an alarm; none where it is not set"
`
