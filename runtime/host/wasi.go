package host

import (
	"encoding/binary"

	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/tetratelabs/wazero/api"
)

// Error numbers of WASI preview 1.
const (
	wasiOK      = 0
	wasiBadFD   = 8
	wasiInvalid = 28
	wasiNoSys   = 52
)

const maxVectors = 1024 // of one fd_write

// wasiModule is what Go and wasi-libc need to start and to say why they die; the rest exists, so that programs link, and answers ENOSYS.
// There are no files, no sockets, no environment; clocks and random numbers belong to the record (see instance.begin).
func wasiModule() hostModule {
	m := hostModule{"wasi_snapshot_preview1", []hostFunction{
		{"args_get", "ii:i", wasiNothing},
		{"args_sizes_get", "ii:i", wasiNoStrings},
		{"environ_get", "ii:i", wasiNothing},
		{"environ_sizes_get", "ii:i", wasiNoStrings},
		{"clock_res_get", "ii:i", wasiClockRes},
		{"clock_time_get", "iIi:i", wasiClock},
		{"fd_close", "i:i", wasiNoFile},
		{"fd_fdstat_get", "ii:i", wasiStat},
		{"fd_prestat_get", "ii:i", wasiNoFile},
		{"fd_read", "iiii:i", wasiNoFile},
		{"fd_seek", "iIii:i", wasiNoFile},
		{"fd_write", "iiii:i", wasiWrite},
		{"poll_oneoff", "iiii:i", wasiPoll},
		{"proc_exit", "i:", wasiExit},
		{"random_get", "ii:i", wasiRandom},
		{"sched_yield", ":i", wasiNothing},
	}}
	for _, f := range wasiRest {
		m.functions = append(m.functions, hostFunction{f[0], f[1] + ":i", wasiMissing})
	}
	return m
}

var wasiRest = [...][2]string{
	{"fd_advise", "iIIi"}, {"fd_allocate", "iII"}, {"fd_datasync", "i"}, {"fd_fdstat_set_flags", "ii"}, {"fd_fdstat_set_rights", "iII"},
	{"fd_filestat_get", "ii"}, {"fd_filestat_set_size", "iI"}, {"fd_filestat_set_times", "iIIi"}, {"fd_pread", "iiiIi"},
	{"fd_prestat_dir_name", "iii"}, {"fd_pwrite", "iiiIi"}, {"fd_readdir", "iiiIi"}, {"fd_renumber", "ii"}, {"fd_sync", "i"},
	{"fd_tell", "ii"}, {"path_create_directory", "iii"}, {"path_filestat_get", "iiiii"}, {"path_filestat_set_times", "iiiiIIi"},
	{"path_link", "iiiiiii"}, {"path_open", "iiiiiIIii"}, {"path_readlink", "iiiiii"}, {"path_remove_directory", "iii"},
	{"path_rename", "iiiiii"}, {"path_symlink", "iiiii"}, {"path_unlink_file", "iii"}, {"proc_raise", "i"}, {"sock_accept", "iii"},
	{"sock_recv", "iiiiii"}, {"sock_send", "iiiii"}, {"sock_shutdown", "ii"},
}

func wasiNothing(_ *instance, _ api.Memory, stack []uint64) { stack[0] = wasiOK }
func wasiMissing(_ *instance, _ api.Memory, stack []uint64) { stack[0] = wasiNoSys }
func wasiNoFile(_ *instance, _ api.Memory, stack []uint64)  { stack[0] = wasiBadFD }

func wasiExit(_ *instance, _ api.Memory, stack []uint64) {
	trap("the guest exited with code %d", uint32(stack[0]))
}

func wasiNoStrings(_ *instance, memory api.Memory, stack []uint64) {
	binary.LittleEndian.PutUint32(view(memory, "args_sizes_get", stack[0], 4), 0)
	binary.LittleEndian.PutUint32(view(memory, "args_sizes_get", stack[1], 4), 0)
	stack[0] = wasiOK
}

func wasiClockRes(_ *instance, memory api.Memory, stack []uint64) {
	binary.LittleEndian.PutUint64(view(memory, "clock_res_get", stack[1], 8), 1000)
	stack[0] = wasiOK
}

// wasiClock shows the record's time as the real one; all others begin with the instance and advance when they are looked at.
func wasiClock(in *instance, memory api.Memory, stack []uint64) {
	const realtime = 0
	ns := uint64(in.now) * 1000
	if uint32(stack[0]) != realtime {
		in.ticks += 1000
		ns = in.ticks
	}
	binary.LittleEndian.PutUint64(view(memory, "clock_time_get", stack[2], 8), ns)
	stack[0] = wasiOK
}

func wasiRandom(in *instance, memory api.Memory, stack []uint64) {
	b := view(memory, "random_get", stack[0], stack[1])
	in.charge(int64(len(b)) >> copyShift)
	for i := range b {
		if i%8 == 0 {
			in.random += 0x9e3779b97f4a7c15 // SplitMix64
		}
		z := in.random
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		b[i] = byte((z ^ z>>31) >> (8 * (i % 8)))
	}
	stack[0] = wasiOK
}

// wasiStat calls the three standard streams character devices.
func wasiStat(_ *instance, memory api.Memory, stack []uint64) {
	if uint32(stack[0]) > 2 {
		stack[0] = wasiBadFD
		return
	}
	b := view(memory, "fd_fdstat_get", stack[1], 24)
	clear(b)
	b[0] = 2
	stack[0] = wasiOK
}

// wasiWrite logs what goes to standard output and error.
func wasiWrite(in *instance, memory api.Memory, stack []uint64) {
	if fd := uint32(stack[0]); fd != 1 && fd != 2 {
		stack[0] = wasiBadFD
		return
	}
	if uint32(stack[2]) > maxVectors {
		stack[0] = wasiInvalid
		return
	}
	vectors := view(memory, "fd_write", stack[1], 8*uint64(uint32(stack[2])))
	in.charge(int64(len(vectors)))
	written := uint32(0)
	for ; len(vectors) > 0; vectors = vectors[8:] {
		ptr, n := binary.LittleEndian.Uint32(vectors), binary.LittleEndian.Uint32(vectors[4:])
		b := view(memory, "fd_write", uint64(ptr), uint64(n))
		in.charge(int64(len(b)))
		in.write(b)
		written += n
	}
	binary.LittleEndian.PutUint32(view(memory, "fd_write", stack[3], 4), written)
	stack[0] = wasiOK
}

// wasiPoll lets every wait end at once; the clock that is not the real one has then moved on by as much.
func wasiPoll(in *instance, memory api.Memory, stack []uint64) {
	n := uint64(uint32(stack[2]))
	if n == 0 || n > maxVectors {
		stack[0] = wasiInvalid
		return
	}
	in.charge(int64(n) << 3)
	subscriptions, events := view(memory, "poll_oneoff", stack[0], 48*n), view(memory, "poll_oneoff", stack[1], 32*n)
	wait := uint64(1) << 62
	for i := range n {
		s, e := subscriptions[48*i:], events[32*i:32*i+32]
		clear(e)
		copy(e, s[:8])
		e[10] = s[8]
		if s[8] == 0 {
			until := binary.LittleEndian.Uint64(s[24:])
			if s[40]&1 != 0 { // absolute
				until -= min(until, in.ticks)
			}
			wait = min(wait, until)
		}
	}
	if wait < 1<<62 {
		in.ticks += wait
	}
	binary.LittleEndian.PutUint32(view(memory, "poll_oneoff", stack[3], 4), uint32(n))
	stack[0] = wasiOK
}

// print keeps the first of what a call printed, for the text of its fault: a runtime that dies says why before it shows its stacks.
func (in *instance) print(b []byte) {
	in.printed = append(in.printed, b[:min(len(b), maxPrinted-len(in.printed))]...)
}

// write collects what a guest prints and logs it by lines.
func (in *instance) write(b []byte) {
	in.print(b)
	for _, c := range b {
		if c != '\n' && len(in.line) < abi.MaxText {
			in.line = append(in.line, c)
			continue
		}
		if len(in.line) > 0 {
			in.charge(callCost)
			in.say(abi.LevelInfo, in.line)
		}
		in.line = in.line[:0]
	}
}
