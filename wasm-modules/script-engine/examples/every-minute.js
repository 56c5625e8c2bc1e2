// One record of each minute and sensor: the last, with how many there were and their greatest value. What it knows of a stream is in its state, so a
// restart neither forgets nor counts twice.
export let state = { minute: 0, n: 0, max: null, last: null };

export default function (r) {
  const minute = Math.floor(r.time / 60e6), value = +r.labels.value;
  let out = absorb();
  if (minute > state.minute && state.n > 0) {
    out = { labels: { value: state.last, n: state.n, max: state.max }, time: state.minute * 60e6 };
  }
  if (minute > state.minute) state = { minute, n: 0, max: null, last: null };
  state.n++;
  state.max = state.max === null ? value : Math.max(state.max, value);
  state.last = r.labels.value;
  return out;
}
