//! For writing Sluice modules in Zig.
//!
//!     const sluice = @import("sluice");
//!
//!     const manifest =
//!         \\abi = 1
//!         \\name = "fast-only"
//!         \\labels = ["rpm"]
//!         \\reasons = ["slow"]
//!     ;
//!
//!     fn init(config: sluice.Json) ?[:0]const u8 {
//!         _ = config;
//!         return null; // or what is wrong with it
//!     }
//!
//!     fn process(r: sluice.Record, out: *sluice.Out) !sluice.Verdict {
//!         _ = out;
//!         const rpm = r.float(0) orelse return sluice.drop(0); // null where the record has no such label, or it is no number
//!         return if (rpm < 600) sluice.drop(0) else sluice.pass; // the first of reasons, under which it is counted
//!     }
//!
//!     comptime {
//!         sluice.module(.{ .manifest = manifest, .init = init, .process = process });
//!     }
//!
//! Functions named save, load and flush in the same way make a module that remembers, or that has something to say at the end of a batch. An error sets
//! the record aside under its name. Nothing here allocates; what a module is given are views of the input buffer, valid until process returns.
//! The bytes are described in runtime/abi/ABI.md.

const std = @import("std");

/// Longest answer and longest state.
const out_max = 256 << 10;
const state_max = 64 << 10;

// ---- the record ----

pub const replayed = 1;
pub const shadow = 2;
pub const late = 4;
pub const last_of_batch = 8;

/// Record is a view of one record. The host has written it, so its offsets are trusted.
pub const Record = struct {
    b: [*]const u8,

    inline fn get(r: Record, comptime T: type, at: usize) T {
        return @as(*align(1) const T, @ptrCast(r.b + at)).*;
    }

    inline fn reference(r: Record, at: usize) ?[]const u8 {
        const ref = r.get(u32, at);
        if (ref & 0xffff == 0) return null;
        return r.b[ref & 0xffff ..][0 .. ref >> 16];
    }

    /// Microseconds since the Unix epoch.
    pub fn time(r: Record) i64 {
        return r.get(i64, 8);
    }

    /// A set of replayed, shadow, late and last_of_batch.
    pub fn flags(r: Record) u16 {
        return r.get(u16, 4);
    }

    pub fn contentType(r: Record) []const u8 {
        return r.reference(24) orelse "";
    }

    /// Its entry in its bucket.
    pub fn entry(r: Record) []const u8 {
        return r.reference(28) orelse "";
    }

    /// The number of slots: the declared labels, or twice the number of labels with labels = ["*"].
    pub fn slots(r: Record) usize {
        return r.get(u16, 6);
    }

    /// A declared label, null where the record does not have it. With labels = ["*"]: name, value, name, value.
    pub inline fn slot(r: Record, i: usize) ?[]const u8 {
        return if (i < r.slots()) r.reference(32 + 4 * i) else null;
    }

    /// A declared label as a number, null where it is none.
    pub fn float(r: Record, i: usize) ?f64 {
        return parseFloat(r.slot(i) orelse return null);
    }

    /// The length of the whole payload, be it here or not.
    pub fn payloadLen(r: Record) usize {
        return r.get(u32, 16);
    }

    /// The part of the payload that is here.
    pub fn payload(r: Record) []const u8 {
        const off = r.get(u32, 20);
        return if (off == 0) "" else r.b[off..r.get(u32, 0)];
    }

    /// The payload as f32 values, where it lies; bytes beyond the last whole value are left out.
    pub fn f32s(r: Record) []const f32 {
        const p = r.payload();
        return @as([*]const f32, @ptrCast(@alignCast(p.ptr)))[0 .. p.len / 4];
    }
};

// ---- the answer ----

/// Verdict is what process returns: a constant, drop, keep, or what a method of Out returns.
pub const Verdict = enum(i64) { _ };

fn short(verdict: i64, reason: i64, mask: i64) Verdict {
    return @enumFromInt(1 << 62 | verdict << 48 | reason << 32 | mask);
}

/// Publish it unchanged.
pub const pass = short(0, 0, 0);
/// Taken into the state; nothing is published.
pub const absorb = short(3, 0, 0);
/// The whole batch again later.
pub const retry = short(5, 0, 0);

/// Gives a record up for a reason: a number of the manifest's reasons, from 0.
pub fn drop(reason: u16) Verdict {
    return short(2, reason, 0);
}

/// Publishes a record with only those labels whose slot's bit is set.
pub fn keep(slots: u32) Verdict {
    return short(1, 0, slots);
}

/// Out takes the outputs of one record. output begins one, at first equal to the record; the other functions change it, and begin one where there is
/// none; emit ends the answer.
pub const Out = struct {
    n: usize = 8,
    output_at: usize = 0,
    outputs: u32 = 0,
    full: bool = false, // no room was left
    named: bool = false, // a label's name was too long
    bytes: [out_max]u8 = undefined,

    inline fn reset(o: *Out) void {
        o.n = 8;
        o.outputs = 0;
        o.full = false;
        o.named = false;
    }

    inline fn space(o: *Out, n: usize) ?[*]u8 {
        if (n > out_max - o.n) {
            o.full = true;
            return null;
        }
        defer o.n += n;
        return o.bytes[o.n..].ptr;
    }

    inline fn put(o: *Out, at: usize, v: u32) void {
        @as(*align(1) u32, @ptrCast(o.bytes[at..].ptr)).* = v;
    }

    /// Begins the next output.
    pub fn output(o: *Out) void {
        const at = o.n;
        _ = o.space(8) orelse return;
        o.put(at, 0);
        o.put(at + 4, 0);
        o.output_at = at;
        o.outputs += 1;
    }

    /// Makes the open output end where the answer ends.
    inline fn close(o: *Out) void {
        o.put(o.output_at, @intCast(o.n - o.output_at - 8));
    }

    inline fn op(o: *Out, code: u32, key: []const u8, value: []const u8) void {
        if (o.outputs == 0) o.output();
        if (key.len > 0xffff) {
            o.named = true;
            return;
        }
        const at = o.n;
        const p = o.space(8 + key.len + value.len) orelse return;
        o.put(at, code | @as(u32, @intCast(key.len)) << 16);
        o.put(at + 4, @intCast(value.len));
        copy(p + 8, key);
        copy(p + 8 + key.len, value);
        const ops: *align(1) u16 = @ptrCast(o.bytes[o.output_at + 4 ..].ptr);
        ops.* +%= 1;
        o.close();
    }

    /// Replaces a label where it stands, or adds it after the others.
    pub fn setLabel(o: *Out, name: []const u8, value: []const u8) void {
        o.op(1, name, value);
    }

    pub fn deleteLabel(o: *Out, name: []const u8) void {
        o.op(2, name, "");
    }

    /// Gives a label another name; nothing where it is absent.
    pub fn renameLabel(o: *Out, name: []const u8, to: []const u8) void {
        o.op(9, name, to);
    }

    pub fn clearLabels(o: *Out) void {
        o.op(3, "", "");
    }

    /// What is put after the remote's topic.
    pub fn setTopic(o: *Out, suffix: []const u8) void {
        o.op(4, "", suffix);
    }

    pub fn setType(o: *Out, content_type: []const u8) void {
        o.op(5, "", content_type);
    }

    pub fn setPayload(o: *Out, payload: []const u8) void {
        o.op(6, "", payload);
    }

    pub fn setTime(o: *Out, microseconds: i64) void {
        o.op(7, "", std.mem.asBytes(&microseconds));
    }

    /// Keeps only a part of the record's payload, which need not be here.
    pub fn cutPayload(o: *Out, off: u32, n: u32) void {
        o.op(8, "", std.mem.asBytes(&[2]u32{ off, n }));
    }

    /// Publishes the outputs in the record's place; without one it is pass.
    pub fn emit(o: *Out) Verdict {
        if (o.named) return o.park("a label's name is longer than 65535 bytes");
        if (o.full) return o.park("the answer is longer than the SDK's out_max");
        if (o.outputs == 0) return pass;
        return o.decided(1, @truncate(o.outputs));
    }

    /// Sets the record aside with a text for a person.
    pub fn park(o: *Out, why: []const u8) Verdict {
        return o.say(4, why);
    }

    /// Asks for the batch again later and says why.
    pub fn retryBecause(o: *Out, why: []const u8) Verdict {
        return o.say(5, why);
    }

    fn say(o: *Out, verdict: u32, why: []const u8) Verdict {
        const n = @min(why.len, 4096);
        o.reset();
        copy(o.space(n).?, why[0..n]);
        return o.decided(verdict, 0);
    }

    fn decided(o: *Out, verdict: u32, reason: u16) Verdict {
        o.put(0, verdict | @as(u32, reason) << 16);
        o.put(4, @intCast(o.n - 8));
        return @enumFromInt(long(o.bytes[0..o.n]));
    }

    /// A payload of JSON: one object, written where the host will read it. end() comes before anything else is said of this output.
    pub fn json(o: *Out) Writer {
        o.setPayload("");
        const w = Writer{ .out = o, .at = o.n };
        w.append("{");
        return w;
    }
};

/// Writer writes the members of an object.
pub const Writer = struct {
    out: *Out,
    at: usize,

    fn append(w: Writer, s: []const u8) void {
        if (w.out.space(s.len)) |p| copy(p, s);
    }

    fn key(w: Writer, name: []const u8) void {
        if (w.out.n > w.at + 1) w.append(",");
        w.string(name);
        w.append(":");
    }

    /// Writes a member that is a string.
    pub fn text(w: Writer, name: []const u8, value: []const u8) void {
        w.key(name);
        w.string(value);
    }

    /// Writes a member that is a number, with so many digits (0 to 9) after the point.
    pub fn float(w: Writer, name: []const u8, value: f64, digits: u32) void {
        var buf: [330]u8 = undefined;
        w.raw(name, decimal(&buf, value, digits));
    }

    /// Writes a member that is an integer.
    pub fn int(w: Writer, name: []const u8, value: i64) void {
        var buf: [24]u8 = undefined;
        w.raw(name, std.fmt.bufPrint(&buf, "{d}", .{value}) catch unreachable);
    }

    /// Writes a member that is true or false.
    pub fn boolean(w: Writer, name: []const u8, value: bool) void {
        w.raw(name, if (value) "true" else "false");
    }

    /// Writes a member whose value is JSON already.
    pub fn raw(w: Writer, name: []const u8, value: []const u8) void {
        w.key(name);
        w.append(value);
    }

    pub fn end(w: Writer) void {
        w.append("}");
        if (w.out.full) return;
        w.out.put(w.at - 4, @intCast(w.out.n - w.at));
        w.out.close();
    }

    /// Appends a JSON string. A byte that is no UTF-8 becomes the replacement character: labels are bytes, JSON is not.
    fn string(w: Writer, s: []const u8) void {
        w.append("\"");
        var i: usize = 0;
        while (i < s.len) {
            const n = valid(s[i..]);
            const c = s[i];
            if (n > 1) {
                w.append(s[i..][0..n]);
            } else if (n == 0) {
                w.append("\u{fffd}");
            } else switch (c) {
                '"', '\\' => w.append(&.{ '\\', c }),
                '\n' => w.append("\\n"),
                '\r' => w.append("\\r"),
                '\t' => w.append("\\t"),
                0...8, 11, 12, 14...31 => w.append(&.{ '\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15] }),
                else => w.append(&.{c}),
            }
            i += @max(n, 1);
        }
        w.append("\"");
    }
};

/// The length of the UTF-8 of one character, 0 where the text does not begin with one.
fn valid(s: []const u8) usize {
    const n = std.unicode.utf8ByteSequenceLength(s[0]) catch return 0;
    if (n > s.len) return 0;
    return if (std.unicode.utf8ValidateSlice(s[0..n])) n else 0;
}

/// Copies a text, which is short: two moves that overlap cost less than an instruction for any length.
inline fn copy(dst: [*]u8, src: []const u8) void {
    const n = src.len;
    if (n > 16) {
        @memcpy(dst[0..n], src);
    } else if (n >= 8) {
        overlap(u64, dst, src);
    } else if (n >= 4) {
        overlap(u32, dst, src);
    } else if (n > 0) {
        const first, const middle, const last = .{ src[0], src[n / 2], src[n - 1] };
        dst[0] = first;
        dst[n / 2] = middle;
        dst[n - 1] = last;
    }
}

inline fn overlap(comptime T: type, dst: [*]u8, src: []const u8) void {
    const end = src.len - @sizeOf(T);
    const first = @as(*align(1) const T, @ptrCast(src.ptr)).*;
    const last = @as(*align(1) const T, @ptrCast(src.ptr + end)).*;
    @as(*align(1) T, @ptrCast(dst)).* = first;
    @as(*align(1) T, @ptrCast(dst + end)).* = last;
}

// ---- numbers ----

/// Reads a decimal number such as "1450.5" or "-2e3", of at most 400 bytes; null: it is none.
pub fn parseFloat(s: []const u8) ?f64 {
    if (s.len > 400) return null;
    for (s) |c| switch (c) {
        '0'...'9', '.', '+', '-', 'e', 'E' => {}, // no words, no hex, no underscores
        else => return null,
    };
    const v = std.fmt.parseFloat(f64, s) catch return null;
    return if (std.math.isFinite(v)) v else null;
}

/// Writes a number with so many digits (0 to 9) after the point, rounded from its exact value, halves to even. What JSON has no number for
/// becomes null.
pub fn decimal(buf: *[330]u8, v: f64, digits: u32) []const u8 {
    if (!std.math.isFinite(v)) return "null";
    const bits: u64 = @bitCast(v);
    const power: i32 = @intCast(bits >> 52 & 0x7ff);
    const mantissa = bits & (1 << 52) - 1 | @as(u64, @intCast(@min(power, 1))) << 52;
    const shift = 1075 - @as(i32, @max(power, 1)); // magnitude = mantissa / 2^shift
    const unit = std.math.pow(u64, 10, digits);
    var n: usize = 0;
    var fraction: u64 = 0;
    if (bits >> 63 != 0) {
        buf[0] = '-';
        n = 1;
    }
    if (shift <= 0) {
        n += large(buf[n..], mantissa, @intCast(-shift));
    } else {
        var scaled: u128 = 0; // magnitude * unit, rounded
        if (shift < 100) {
            const exact = @as(u128, mantissa) * unit;
            const half = @as(u128, 1) << @intCast(shift - 1);
            const rest = exact & (half | half - 1);
            scaled = exact >> @intCast(shift);
            if (rest > half or rest == half and scaled & 1 != 0) scaled += 1;
        }
        fraction = @intCast(scaled % unit);
        n += (std.fmt.bufPrint(buf[n..], "{d}", .{@as(u64, @intCast(scaled / unit))}) catch unreachable).len;
    }
    if (digits == 0) return buf[0..n];
    buf[n] = '.';
    n += 1;
    padded(buf[n..][0..digits], fraction);
    return buf[0 .. n + digits];
}

/// Writes the last digits of v, with zeros before them.
fn padded(dst: []u8, v: u64) void {
    var rest = v;
    var i = dst.len;
    while (i > 0) : (rest /= 10) {
        i -= 1;
        dst[i] = '0' + @as(u8, @intCast(rest % 10));
    }
}

/// Writes v << shift for shifts up to 971, in parts of nine digits.
fn large(dst: []u8, v: u64, shift: u32) usize {
    const nine = 1_000_000_000;
    var parts: [36]u32 = undefined;
    var n: usize = 0;
    var rest = v;
    while (rest > 0) : (rest /= nine) {
        parts[n] = @intCast(rest % nine);
        n += 1;
    }
    var left = shift;
    while (left > 0) {
        const by = @min(left, 20);
        var carry: u64 = 0;
        for (parts[0..n]) |*p| {
            carry += @as(u64, p.*) << @intCast(by);
            p.* = @intCast(carry % nine);
            carry /= nine;
        }
        if (carry > 0) {
            parts[n] = @intCast(carry);
            n += 1;
        }
        left -= by;
    }
    n -= 1;
    var at = (std.fmt.bufPrint(dst, "{d}", .{parts[n]}) catch unreachable).len;
    while (n > 0) {
        n -= 1;
        padded(dst[at..][0..9], parts[n]);
        at += 9;
    }
    return at;
}

// ---- the configuration: compact JSON that the host has written ----

/// Json is one JSON value as it was written: a view, empty where there is none.
pub const Json = struct {
    raw: []const u8,

    /// A member of an object.
    pub fn get(j: Json, name: []const u8) Json {
        var members = j.list();
        while (members.next()) |key| {
            const value = members.next() orelse break;
            if (key.raw.len == name.len + 2 and std.mem.eql(u8, key.raw[1 .. key.raw.len - 1], name)) return value;
        }
        return .{ .raw = "" };
    }

    /// The elements of an array; keys and values of an object in turn.
    pub fn list(j: Json) Values {
        const open = if (j.raw.len > 2) j.raw[0] else 0;
        return .{ .rest = if (open == '{' or open == '[') j.raw[1 .. j.raw.len - 1] else "" };
    }

    pub fn float(j: Json) ?f64 {
        return parseFloat(j.raw);
    }

    /// What a string says, written to dst, which takes as many bytes as the string has; null: it is no string, or does not fit.
    pub fn text(j: Json, dst: []u8) ?[]const u8 {
        if (j.raw.len < 2 or j.raw[0] != '"' or j.raw.len > dst.len + 2) return null;
        var rest = j.raw[1 .. j.raw.len - 1];
        var n: usize = 0;
        while (rest.len > 0) {
            if (rest[0] != '\\' or rest.len < 2) {
                dst[n] = rest[0];
                n += 1;
                rest = rest[1..];
                continue;
            }
            if (rest[1] == 'u' and rest.len >= 6) {
                n += std.unicode.utf8Encode(rune(&rest), dst[n..]) catch return null;
                continue;
            }
            dst[n] = switch (rest[1]) {
                'b' => 8,
                'f' => 12,
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                else => |c| c,
            };
            n += 1;
            rest = rest[2..];
        }
        return dst[0..n];
    }

    /// Takes an escape of a character, or a pair of them, off rest.
    fn rune(rest: *[]const u8) u21 {
        const first = std.fmt.parseInt(u16, rest.*[2..6], 16) catch 0xfffd;
        rest.* = rest.*[6..];
        if (first >> 11 != 0x1b) return first;
        if (first >> 10 == 0x36 and rest.len >= 6 and rest.*[0] == '\\' and rest.*[1] == 'u') {
            const low = std.fmt.parseInt(u16, rest.*[2..6], 16) catch 0;
            if (low >> 10 == 0x37) {
                rest.* = rest.*[6..];
                return 0x10000 + (@as(u21, first & 0x3ff) << 10) + (low & 0x3ff);
            }
        }
        return 0xfffd; // half of a pair
    }
};

/// Values goes through a list.
pub const Values = struct {
    rest: []const u8,

    pub fn next(v: *Values) ?Json {
        var depth: usize = 0;
        var quoted = false;
        var i: usize = 0;
        while (i < v.rest.len) : (i += 1) switch (v.rest[i]) {
            '\\' => i += 1,
            '"' => quoted = !quoted,
            '{', '[' => depth += @intFromBool(!quoted),
            '}', ']' => depth -|= @intFromBool(!quoted),
            ',', ':' => if (!quoted and depth == 0) break,
            else => {},
        };
        const n = @min(i, v.rest.len);
        const value = v.rest[0..n];
        v.rest = v.rest[@min(n + 1, v.rest.len)..];
        return if (value.len == 0) null else .{ .raw = value };
    }
};

// ---- the host ----

const host = struct {
    extern "sluice1" fn log(level: i32, p: [*]const u8, n: usize) void;
    extern "sluice1" fn count(p: [*]const u8, n: usize, by: i64) void;
    extern "sluice1" fn observe(p: [*]const u8, n: usize, value: f64) void;
    extern "sluice1" fn payload(record: i32, off: usize, dst: [*]u8, n: usize) i32;
    extern "sluice1" fn label(record: i32, key: [*]const u8, key_len: usize, dst: [*]u8, room: usize) i32;
    extern "sluice1" fn now() i64;
    extern "sluice1" fn dsp(record: i32, kind: i32, format: i32, dst: *Stats, room: usize) i32;
};

pub const Level = enum(i32) { debug, info, warn, err };

/// Writes a line into the host's log.
pub fn log(level: Level, text: []const u8) void {
    host.log(@intFromEnum(level), text.ptr, text.len);
}

/// Adds to the module's counter of that name.
pub fn count(name: []const u8, by: i64) void {
    host.count(name.ptr, name.len, by);
}

/// Adds a value to the module's distribution of that name.
pub fn observe(name: []const u8, value: f64) void {
    host.observe(name.ptr, name.len, value);
}

/// The time of the record in microseconds, also where there is no record at hand; 0 before the first.
pub fn now() i64 {
    return host.now();
}

/// Copies the record's payload from off on, for manifests with payload = "pull".
pub fn pull(off: usize, dst: []u8) []const u8 {
    return dst[0..@intCast(@max(host.payload(0, off, dst.ptr, dst.len), 0))];
}

/// Copies the value of any label, declared or not, at the price of a call of the host. null: the record has none, or it does not fit.
pub fn label(name: []const u8, dst: []u8) ?[]const u8 {
    const n = host.label(0, name.ptr, name.len, dst.ptr, dst.len);
    return if (n < 0 or n > dst.len) null else dst[0..@intCast(n)];
}

/// Format of a payload of numbers.
pub const Format = enum(i32) { f32, f64, i16, i32 };

/// Stats is what the host knows of a payload of numbers without copying it to the module. A constant signal has neither crest nor kurtosis: they are 0.
pub const Stats = extern struct { count: f64, mean: f64, rms: f64, least: f64, most: f64, peak: f64, crest: f64, kurtosis: f64 };

/// Asks the host; null: the payload is no whole number of such values.
pub fn stats(format: Format) ?Stats {
    var s: Stats = undefined;
    return if (host.dsp(0, 1, @intFromEnum(format), &s, @sizeOf(Stats)) == @sizeOf(Stats)) s else null;
}

// ---- the exports ----

fn long(b: []const u8) i64 {
    return @intCast(@as(u64, @intFromPtr(b.ptr)) << 32 | b.len);
}

fn status(refusal: ?[:0]const u8) usize {
    return if (refusal) |text| @intFromPtr(text.ptr) else 0;
}

const page = 64 << 10;

var out: Out = .{};
var state: [state_max]u8 = undefined;
var buffer: [*]align(16) u8 = undefined;
var buffer_len: usize = 0;

/// Makes functions the module of this program:
///   manifest: []const u8, init: fn (Json) ?[:0]const u8, process: fn (Record, *Out) !Verdict,
///   save: fn ([]u8) usize and load: fn ([]const u8) ?[:0]const u8 for state = "explicit", flush: fn (*Out) Verdict.
pub fn module(comptime m: anytype) void {
    const exports = struct {
        fn version() callconv(.c) void {}

        fn describe() callconv(.c) i64 {
            return long(m.manifest);
        }

        /// A larger buffer is made of new pages; the old one is given up, which happens as often as records grow.
        fn in(size: usize) callconv(.c) usize {
            if (size > buffer_len) {
                const pages = size / page + 1;
                const before = @wasmMemoryGrow(0, pages);
                if (before < 0) return 0;
                buffer = @ptrFromInt(@as(usize, @intCast(before)) * page);
                buffer_len = pages * page;
            }
            return @intFromPtr(buffer);
        }

        fn init(n: usize) callconv(.c) usize {
            return status(m.init(.{ .raw = buffer[0..n] }));
        }

        fn process(_: i32, _: i32) callconv(.c) i64 {
            out.reset();
            const v: Verdict = m.process(.{ .b = buffer }, &out) catch |e| out.park(@errorName(e));
            return @intFromEnum(v);
        }

        fn save() callconv(.c) i64 {
            return long(state[0..m.save(&state)]);
        }

        fn load(n: usize) callconv(.c) usize {
            return status(m.load(buffer[0..n]));
        }

        fn flush(_: i32) callconv(.c) i64 {
            out.reset();
            return @intFromEnum(m.flush(&out));
        }
    };
    @export(&exports.version, .{ .name = "sluice_abi_1" });
    @export(&exports.describe, .{ .name = "sluice_describe" });
    @export(&exports.in, .{ .name = "sluice_in" });
    @export(&exports.init, .{ .name = "sluice_init" });
    @export(&exports.process, .{ .name = "sluice_process" });
    if (@hasField(@TypeOf(m), "save")) @export(&exports.save, .{ .name = "sluice_save" });
    if (@hasField(@TypeOf(m), "load")) @export(&exports.load, .{ .name = "sluice_load" });
    if (@hasField(@TypeOf(m), "flush")) @export(&exports.flush, .{ .name = "sluice_flush" });
}
