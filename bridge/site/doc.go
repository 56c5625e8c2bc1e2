// Package site simulates the far left of the bridge: a machine full of vibration sensors, and the ReductStore that replicates their
// records to it.
//
//	Vibration ──records──▶ Store ◀──Read── Sender ──PATCH/POST …/batch──▶ target
//	                                          ▲ Notify (what was written or updated)
//
//	vibration.go   the machine: speed, tones, a bearing that wears; every record is a pure function of seed, sensor and index
//	store.go       what a sender reads its records from
//	log.go         the replication log: a ring for each entry, with the real one's arithmetic
//	request.go     the request's bytes, as the real sender writes them
//	conn.go        one keep-alive connection, and what its failures count as
//	sender.go      the sender: what it keeps, what it forgets, and the faults a test can plan
//	load.go        the same requests as fast as a target takes them
//	run.go         what the command calls: Run, with into.go for a real ReductStore
//
// The sender's rules were read from ReductStore 1.21.5 (src/replication) and measured on it. Where the real one loses records, this one
// loses the same records, counts them and says which.
package site
