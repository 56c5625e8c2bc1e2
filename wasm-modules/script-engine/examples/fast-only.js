// Records of a machine at speed, under the labels that the far end knows, with what it asks of the waveform.
export const version = "1.0.0";
export const reasons = ["slow"];

const min = config.min ?? 1400;

export default function (r) {
  if (!(+r.labels.rpm >= min)) return drop("slow"); // what is no number is not fast either
  if (r.contentType !== "application/octet-stream") return park(`not a waveform: ${r.contentType}`);
  const { rms, peak } = r.stats("f32");
  return {
    rename: { rpm: "speed" },
    labels: { seq: null, source: "edge" },
    topic: r.labels.device ?? "unknown",
    payload: { device: r.labels.device, ts: Math.round(r.time / 1000), rms: +rms.toFixed(4), peak: +peak.toFixed(4) },
  };
}
