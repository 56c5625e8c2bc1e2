//! The same as main.go.
const std = @import("std");
const sluice = @import("sluice");

const manifest =
    \\abi = 1
    \\name = "labels"
    \\labels = ["stable", "rpm", "axis", "device"]
    \\reasons = ["not stable"]
;

comptime {
    sluice.module(.{ .manifest = manifest, .init = init, .process = process });
}

const names = [_][]const u8{ "", "rpm", "axis", "device" };
const to = [_][]const u8{ "", "speed", "direction", "machine" };

fn init(_: sluice.Json) ?[:0]const u8 {
    return null;
}

fn process(r: sluice.Record, out: *sluice.Out) !sluice.Verdict {
    if (!std.mem.eql(u8, r.slot(0) orelse "", "true")) return sluice.drop(0);
    for (names, to, 0..) |name, new, i| {
        if (i > 0 and r.slot(i) != null) out.renameLabel(name, new);
    }
    return out.emit();
}
