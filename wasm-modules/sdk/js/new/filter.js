// my-filter lets records pass that were made fast enough, under the label that the far end knows.
export const name = "my-filter";
export const version = "0.1.0";
export const reasons = ["slow"];

const min = config.min ?? 600; // lowest number of revolutions a minute
if (!(min >= 0)) throw new Error("min: want 0 or more");

export default function (r) {
  const rpm = parseFloat(r.labels.rpm);
  if (isNaN(rpm)) return park("rpm: want a number");
  if (rpm < min) return drop("slow");
  return { rename: { rpm: "speed" } };
}
