package bridge

import "errors"

var (
	// ErrFull: the ledger's quota is used up; push back, the sender keeps the batch.
	ErrFull = errors.New("ledger is full")
	// ErrUnknown: a write was started and has not reported. Neither done nor failed may be assumed.
	ErrUnknown = errors.New("outcome unknown")
	// ErrCorrupt: our own data does not add up. The process stops; nothing is guessed.
	ErrCorrupt = errors.New("corrupt")
	// ErrClosed: the part asked is shutting down.
	ErrClosed = errors.New("closed")
	// ErrRejected: the input is wrong and will be wrong again; never retry.
	ErrRejected = errors.New("rejected")
	// ErrRetry: a module asked for the same batch again later, or is paused; the sender keeps the batch.
	ErrRetry = errors.New("try again later")
)
