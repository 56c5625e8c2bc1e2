package ledger

import "time"

// limits are the sizes and times that no configuration needs.
type limits struct {
	idle time.Duration // after which chores do not wait for a commit to ride with
	tend time.Duration // how often the epoch file is brought up to date, and a missing ballast is tried for

	// Blocks of seen keys are merged to at least blockKeys keys once mergeAt small ones are there: a hundred bytes written again for
	// each Append, and at most Exact/blockKeys + mergeAt blocks to look through.
	blockKeys, mergeAt int
	// ranges of a stream, before neighbours are joined.
	ranges int

	// A checkpoint of an outbox is written when the journal after the last one has more bytes, or more rows, than this.
	journal     int
	journalRows uint64

	// What a commit does beside its writes at most, so that no writer waits long for the tidying of another.
	drops, dropBytes, rewrites int
	// Settled rows are deleted when dropAt of them are there, or dropAtBytes, and in idle moments: a deletion changes four pages that the
	// commit would not write without it, and those are most of what a commit of small messages costs.
	dropAt, dropAtBytes int
	// A row is rewritten small when a quarter of it or less is unsettled, it has rewriteBytes or more, and rewriteAge rows came after it.
	rewriteBytes int
	rewriteAge   uint64

	// wal is how far the write-ahead log may grow before it is copied into the database: pages that change often are copied less
	// often, at the price of that much disk.
	wal int64
	// ballast is what a full disk still has room for: the database taking in the whole write-ahead log, which then has room itself.
	ballast int64
}

// productionLimits returns those of a ledger with this quota: a small one takes little disk beside it.
func productionLimits(quota int64) limits {
	wal := min(max(quota/16, 1<<20), 16<<20)
	return limits{
		idle: time.Second, tend: 10 * time.Second,
		blockKeys: 4096, mergeAt: 64, ranges: 4096,
		journal: 256 << 10, journalRows: 512,
		drops: 256, dropBytes: 4 * maxGroup, dropAt: 32, dropAtBytes: 1 << 20, rewrites: 2, rewriteBytes: 16 << 10, rewriteAge: 1024,
		wal: wal, ballast: wal * 5 / 2,
	}
}
