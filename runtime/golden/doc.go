// Package golden runs a module over records that a file holds and compares what it answered with what the file wants: verdict, reason,
// outputs byte for byte, and how many units each record took at most. What it says does not depend on the machine.
//
// A file of records is TOML, so that people can write and comment it:
//
//	[config]                          # as [modules.NAME.config]
//	min = 1400.0
//	[[record]]
//	entry = "vib/acc-1"               # bucket/entry; default "test/entry"
//	time = 1700000000000000           # microseconds; default: a second after the record before
//	labels = { rpm = "1450" }         # handed over sorted by name, as ReductStore sends them
//	content_type = "text/plain"
//	text = "..."                      # the payload: text, base64, f32 or i16 (little-endian), or file, a name beside this file
//	flags = ["late"]                  # late | replayed | shadow
//	batch = true                      # a new batch begins; so it does where the entry is another
//	flush = "tick"                    # no record: what the module holds back of the entry is asked for; tick | shutdown
//	[record.want]                     # left out: whatever it answers is right
//	verdict = "emit"                  # pass | emit | drop | absorb | park | retry
//	reason = "not stable"             # of drop its name; of park and retry a part of the text; left out: any
//	fuel = 400                        # units it may take; more is a difference; left out: any number
//	[[record.want.output]]            # what came out, in order; what it leaves out is as in the record
//	labels = { speed = "1450" }       # all of them
//	topic = "x"
//	time = 1700000000000000
//	content_type = "application/json"
//	text = "..."                      # or base64, f32, i16, file
//
// Without outputs in the file, PASS wants the record unchanged, EMIT is content with any, and of all others nothing may come out. What a module emits when
// a batch is flushed belongs to the batch's last record that was not parked.
//
// A record that asks for its batch to come again decides for all of the batch: retry is their verdict.
//
// Start reading at Load and Run.
package golden
