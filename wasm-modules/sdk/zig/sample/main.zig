//! Uses everything that the SDK offers, as a record's label do says. The samples of all SDKs give the same answers, byte for byte, to the records
//! of ../../conformance.

const std = @import("std");
const sluice = @import("sluice");

const manifest =
    \\abi = 1
    \\name = "sample"
    \\version = "1.0.0"
    \\about = "uses everything that the SDK offers, as the label do says"
    \\labels = ["do", "value", "device"]
    \\payload = "full"
    \\outputs_max = 4
    \\state = "explicit"
    \\state_version = 1
    \\reasons = ["low", "no number"]
    \\[[config]]
    \\name = "min"
    \\type = "float"
    \\default = 600.0
    \\[[config]]
    \\name = "unit"
    \\type = "string"
    \\default = "g"
;

comptime {
    sluice.module(.{ .manifest = manifest, .init = init, .process = process, .save = save, .load = load, .flush = flush });
}

// The manifest's labels and reasons.
const do = 0;
const value = 1;
const device = 2;
const low = 0;
const no_number = 1;

var least: f64 = 0;
var unit_bytes: [256]u8 = undefined;
var unit: []const u8 = "";
var told = false; // that flush has something to say
var room: [64 << 10]u8 = undefined;

var count: u64 = 0; // the state
var sum: f64 = 0;

fn init(config: sluice.Json) ?[:0]const u8 {
    least = config.get("min").float() orelse 0;
    if (least < 0) return "min: want 0 or more";
    unit = config.get("unit").text(&unit_bytes) orelse return "unit: want a short text";
    return null;
}

fn save(dst: []u8) usize {
    dst[0..8].* = @bitCast(count);
    dst[8..16].* = @bitCast(sum);
    return 16;
}

fn load(state: []const u8) ?[:0]const u8 {
    if (state.len != 0 and state.len != 16) return "state: want 16 bytes";
    count = if (state.len > 0) @bitCast(state[0..8].*) else 0;
    sum = if (state.len > 0) @bitCast(state[8..16].*) else 0;
    return null;
}

const Action = enum { pass, empty, drop, keep, absorb, flush, retry, @"retry because", park, fail, crash, tell, label, stats, patch, same, split, cut, clear, name, pull, json, wave, state };

fn process(r: sluice.Record, out: *sluice.Out) !sluice.Verdict {
    const number = r.float(value);
    const text = r.slot(device) orelse "";
    count += 1;
    sum += number orelse 0;
    const what = r.slot(do) orelse "";
    if (what.len == 0) return sluice.pass;
    const action = std.meta.stringToEnum(Action, what) orelse return out.park("do: nothing of that name");
    switch (action) {
        .pass => return sluice.pass,
        .drop => return if (number) |n| (if (n < least) sluice.drop(low) else sluice.pass) else sluice.drop(no_number),
        .keep => return sluice.keep(1 << value | 1 << device),
        .absorb => return sluice.absorb,
        .flush => {
            told = true;
            return sluice.absorb;
        },
        .retry => return sluice.retry,
        .@"retry because" => return out.retryBecause(text),
        .park => return out.park(text),
        .fail => return error.@"told to fail",
        .crash => @trap(),
        .tell => {
            sluice.log(.info, text);
            sluice.count("told", 2);
            sluice.observe("value", number orelse std.math.nan(f64));
            return sluice.pass;
        },
        .label => out.setLabel("copy", sluice.label("seq", &room) orelse return sluice.drop(no_number)),
        .stats => {
            const s = sluice.stats(.f32) orelse return error.@"no waveform";
            const w = out.json();
            w.float("count", s.count, 0);
            inline for (.{ "mean", "rms", "least", "most", "peak", "crest", "kurtosis" }) |name| w.float(name, @field(s, name), 4);
            w.end();
        },
        else => emit(action, r, out, number orelse std.math.nan(f64)),
    }
    return out.emit();
}

/// Makes the outputs that are only a few lines each.
fn emit(action: Action, r: sluice.Record, out: *sluice.Out, number: f64) void {
    switch (action) {
        .patch => {
            out.setLabel("speed", r.slot(value) orelse "");
            out.setLabel("note", "");
            out.deleteLabel("seq");
            out.renameLabel("device", "machine");
            out.setTopic(r.entry());
            out.setType("text/plain");
            out.setPayload("changed");
            out.setTime(r.time() + 1_000_000);
        },
        .same => out.output(),
        .split => {
            out.output();
            out.setLabel("part", "1");
            out.output();
            out.setLabel("part", "2");
        },
        .cut => out.cutPayload(4, 8),
        .clear => {
            out.clearLabels();
            out.setLabel("only", r.slot(device) orelse "");
        },
        .name => out.setLabel(r.payload(), "1"),
        .pull => out.setPayload(sluice.pull(0, &room)),
        .json => record(r, out, number),
        .wave => {
            const values = r.f32s();
            var total: f64 = 0;
            for (values) |v| total += v;
            const w = out.json();
            w.int("n", @intCast(values.len));
            w.float("mean", total / @as(f64, @floatFromInt(values.len)), 6);
            w.end();
        },
        .state => {
            const w = out.json();
            w.int("count", @intCast(count));
            w.float("sum", sum, 3);
            w.int("now", sluice.now());
            w.end();
        },
        else => {},
    }
}

/// Writes everything about a record.
fn record(r: sluice.Record, out: *sluice.Out, number: f64) void {
    const w = out.json();
    w.text("device", r.slot(device) orelse "");
    w.text("type", r.contentType());
    w.text("unit \"1\"", unit);
    w.float("min", least, 1);
    w.float("d0", number, 0);
    w.float("d1", number, 1);
    w.float("d3", number, 3);
    w.float("d9", number, 9);
    w.int("time", r.time());
    w.int("size", @intCast(r.payloadLen()));
    w.boolean("late", r.flags() & sluice.late != 0);
    w.raw("list", "[1,null]");
    w.end();
    out.setType("application/json");
}

/// Says how many records there were, once for each do = "flush".
fn flush(out: *sluice.Out) sluice.Verdict {
    if (!told) return sluice.pass;
    told = false;
    const w = out.json();
    w.int("count", @intCast(count));
    w.end();
    return out.emit();
}
