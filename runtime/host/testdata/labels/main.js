// The same as main.go.
export const labels = ["stable"], reasons = ["not stable"];

export default function (r) {
  if (r.labels.stable !== "true") return drop("not stable");
  return { rename: { rpm: "speed", axis: "direction", device: "machine" } };
}
