// What the model takes of recorded rows, as har/stream/preprocess.py makes it.

const perChannel = (x, i) => (Array.isArray(x) ? x[x.length === 1 ? 0 : i] : x);
export const stepOf = (input, ...names) => input.steps.find((one) => names.includes(one.operation));

/** Each row the mean of those within half of `seconds`, by a Hann window; silent ones stay so. */
function smoothed(rows, { seconds, rates }) {
  const width = seconds * rates[0];
  const reach = Math.floor(width / 2);
  return rows.map((row, t) => {
    if (row === null) return null;
    const sums = new Array(row.length).fill(0);
    let total = 0;
    for (let d = -reach; d <= reach; d += 1) {
      const [other, weight] = [rows[t + d], Math.cos((Math.PI * d) / width) ** 2];
      if (other) {
        total += weight;
        other.forEach((x, i) => { sums[i] += weight * x; });
      }
    }
    return sums.map((x) => x / total);
  });
}

/** Where among `count` rows each of `length` samples lies; those after the last lie nowhere. */
function places({ operation, rate, rates }, count, length) {
  const all = [...new Array(length).keys()];
  if (operation.startsWith('resample')) return all.map((t) => (t * (count - 1)) / Math.max(length - 1, 1));
  const apart = rate ? rates[0] / rate : 1;
  const have = rate ? Math.floor((count - 1) / apart + 1e-6) + 1 : count;
  const start = Math.max(have - length, 0) >> 1;
  return all.slice(0, have - start).map((t) => (start + t) * apart);
}

/** A signal as the model takes it, and its mask. */
export function prepareSignal(input, given) {
  const [length, width] = input.shape;
  const fit = stepOf(input, 'resample', 'pad', 'resample_sensors', 'pad_sensors');
  const [norm, smooth] = [stepOf(input, 'normalise'), stepOf(input, 'smooth')];
  const rows = smooth ? smoothed(given, smooth) : given;
  const data = new Float32Array(length * width);
  const zeros = new Array(width).fill(0);
  const sensors = fit.operation.endsWith('_sensors');
  let heard = 0;
  places(fit, rows.length, length).forEach((at, t) => {
    const left = Math.min(Math.floor(at), rows.length - 1);
    const [a, b, weight] = [rows[left], rows[Math.min(left + 1, rows.length - 1)], at - left];
    if (sensors && (a === null || (b === null && weight > 1e-6))) return;
    heard = t + 1;
    for (let i = 0; i < width; i += 1) {
      const x = (a ?? zeros)[i] * (1 - weight) + (b ?? zeros)[i] * weight;
      data[t * width + i] = norm ? (x - perChannel(norm.mean, i)) / perChannel(norm.std, i) : x;
    }
  });
  return [data, new Float32Array(length).fill(1, 0, heard)];
}

/** Pictures, RGBA of squares, as the model takes them. */
export function prepareFrames(input, rows) {
  const [count, size] = input.shape;
  const whole = stepOf(input, 'square', 'whole').size;
  const norm = stepOf(input, 'normalise');
  const data = new Float32Array(count * size * size * 3);
  const first = rows.find((one) => one !== null);
  const held = [];
  rows.forEach((one) => held.push(one ?? held.at(-1) ?? first));
  const edge = (whole - size) >> 1;
  let place = 0;
  for (let k = 0; k < count; k += 1) {
    const pixels = held[Math.min(Math.floor((k + 0.5) * (held.length / count)), held.length - 1)];
    for (let y = 0; y < size; y += 1) {
      for (let x = 0; x < size; x += 1) {
        for (let c = 0; c < 3; c += 1) {
          const value = pixels[4 * ((y + edge) * whole + x + edge) + c] / 255;
          data[place] = norm ? (value - perChannel(norm.mean, c)) / perChannel(norm.std, c) : value;
          place += 1;
        }
      }
    }
  }
  return data;
}
