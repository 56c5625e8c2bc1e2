package recorder

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Session is what a file is a record of. Another one has packet identifiers of its own, so that a file cannot go on with it.
type Session struct {
	Broker string // host:port
	Client string // client identifier
	Topic  string // filter
	QoS    byte
}

func (s Session) line() []byte {
	dst := []byte(magic)
	for _, f := range []string{s.Broker, s.Client, s.Topic} {
		dst = appendField(dst, f)
	}
	return seal(fmt.Appendf(dst, "\t%d", s.QoS), 0)
}

// readSession reads the first line.
func readSession(fields [][]byte) (s Session, err error) {
	if len(fields) != 5 || string(fields[0]) != magic {
		return s, errors.New("its first line is not that of a record")
	}
	for i, into := range []*string{&s.Broker, &s.Client, &s.Topic} {
		if *into, err = field(fields[1+i]); err != nil {
			return s, err
		}
	}
	if len(fields[4]) != 1 || fields[4][0] < '0' || fields[4][0] > '2' {
		return s, fmt.Errorf("QoS %q", fields[4])
	}
	s.QoS = fields[4][0] - '0'
	return s, nil
}

// File is an open record. It has one user.
type File struct {
	file    *os.File
	sync    func() error // file.Sync
	session Session
	fresh   bool  // made by Open
	size    int64 // bytes that are durable
	stated  int64 // where the last S line begins
	state   open
	batch   []byte // to be written

	released []uint16 // by PUBRELs, for one line at the end of the batch
}

// stateEvery is how many bytes a start reads at most, beside one batch.
const stateEvery = 4 << 20

// Open opens the record of a session, or makes one. With anyClient, s.Client is for a new file only, and one that is there goes on with its
// own. What a crash tore at its end is cut off: nothing of it was acknowledged. One process has it at a time.
func Open(path string, s Session, anyClient bool) (*File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	r := &File{file: f, sync: f.Sync, session: s, state: newOpen()}
	if err := r.open(path, anyClient); err != nil {
		return nil, errors.Join(fmt.Errorf("record %s: %w", path, err), f.Close())
	}
	return r, nil
}

func (f *File) open(path string, anyClient bool) error {
	if err := syscall.Flock(int(f.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("lock it: another process writes it: %w", err)
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	f.size = info.Size()
	first, err := bufio.NewReaderSize(io.NewSectionReader(f.file, 0, f.size), maxLine).ReadSlice('\n')
	switch fields, whole := unseal(bytes.TrimSuffix(first, []byte{'\n'})); {
	case err == nil && whole:
		return f.goOn(fields, anyClient)
	case err == nil || f.size > maxLine || !strings.HasPrefix(magic, string(first[:min(len(first), len(magic))])):
		return errors.New("is not a record of this program")
	}
	return f.begin(path) // empty, or its first line was torn
}

// begin writes the first line, and makes the name durable.
func (f *File) begin(path string) error {
	if err := f.cut(0); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return err
	}
	f.fresh = true
	f.batch = append(f.batch, f.session.line()...)
	return f.commit()
}

// goOn reads the state of the session.
func (f *File) goOn(first [][]byte, anyClient bool) error {
	s, err := readSession(first)
	if err != nil {
		return err
	}
	if anyClient {
		f.session.Client = s.Client
	}
	if f.session != s {
		return fmt.Errorf("is of %+v, want %+v: another session needs another file", s, f.session)
	}
	if f.stated, err = f.lastState(); err != nil {
		return err
	}
	return f.replay()
}

// lastState returns where the last whole S line begins, 0 where there is none.
func (f *File) lastState() (int64, error) {
	mark := []byte("\n" + lineState)
	buf := make([]byte, maxBatch+maxLine)
	for end := f.size; end > 0; {
		from := max(0, end-int64(len(buf)))
		b := buf[:end-from]
		if _, err := f.file.ReadAt(b, from); err != nil {
			return 0, err
		}
		for at := bytes.LastIndex(b, mark); at >= 0; at = bytes.LastIndex(b[:at], mark) {
			line, _, whole := bytes.Cut(b[at+1:], []byte{'\n'})
			if _, ok := unseal(line); whole && ok {
				return from + int64(at) + 1, nil
			}
		}
		if from == 0 {
			return 0, nil
		}
		end = from + maxLine // a line that was cut in two is whole in the next look
	}
	return 0, nil
}

// replay reads from the last S line to the end, and cuts off what is not whole there.
func (f *File) replay() error {
	at := f.stated
	r := bufio.NewReaderSize(io.NewSectionReader(f.file, at, f.size-at), maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		fields, ok := unseal(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil || !ok {
			return f.cut(at)
		}
		if err := f.state.replay(fields); err != nil {
			return fmt.Errorf("at byte %d: %w", at, err)
		}
		at += int64(len(line))
	}
}

// cut takes off what begins at a line that is not whole. More than a batch was not torn by a crash.
func (f *File) cut(at int64) error {
	if f.size-at > maxBatch {
		return fmt.Errorf("damaged at byte %d of %d, not just at its end", at, f.size)
	}
	if f.size == at {
		return nil
	}
	if err := f.file.Truncate(at); err != nil {
		return err
	}
	f.size = at
	return f.sync()
}

// message adds a delivery to the batch.
func (f *File) message(d *Delivery) {
	if slices.Contains(f.released, d.pid) {
		f.flushReleased() // or it would be taken for complete with the one before it
	}
	f.batch = appendMessage(f.batch, d)
	f.state.add(d.qos, d.pid, d.sum)
}

// release adds the end of a QoS 2 delivery to the batch.
func (f *File) release(pid uint16) {
	delete(f.state.two, pid)
	f.released = append(f.released, pid)
}

func (f *File) flushReleased() {
	if len(f.released) > 0 {
		f.batch = appendReleases(f.batch, f.released)
		f.released = f.released[:0]
	}
}

// newSession adds that the broker knows of nothing that was open.
func (f *File) newSession(now time.Time) {
	f.flushReleased()
	f.batch = appendNew(f.batch, now)
	f.state = newOpen()
}

func (f *File) full() bool { return len(f.batch)+6*len(f.released) >= fullAt }

// commit makes the batch durable. After an error nothing may be acknowledged any more, and the file is of no use until it is opened anew.
func (f *File) commit() error {
	f.flushReleased()
	if len(f.batch) == 0 {
		return nil
	}
	if _, err := f.file.WriteAt(f.batch, f.size); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if err := f.sync(); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	f.size += int64(len(f.batch))
	f.batch = f.batch[:0]
	if f.size-f.stated >= stateEvery {
		f.stated = f.size // the first of the next batch: all before it is durable
		f.batch = f.state.appendState(f.batch)
	}
	return nil
}

// Close gives the file up. What was not committed is not in it.
func (f *File) Close() error { return f.file.Close() }

// Session returns whose record it is.
func (f *File) Session() Session { return f.session }
