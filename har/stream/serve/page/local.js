// The model in the browser itself: nothing leaves the device. It does what har/stream does (grid.py,
// windows.py, events.py).

import { prepareFrames, prepareSignal, stepOf } from './prepare.js';

const [GAP, LEAST_HEARD, PATIENCE] = [0.5, 0.5, 1.0];
const rowsOf = (rate, start, seconds) => [
  Math.floor(start * rate + 0.5 + 1e-9), Math.max(Math.floor(seconds * rate + 0.5 + 1e-9), 1)];

/** Rows of one source, at even times: `[value, heard]`. */
class Rows {
  constructor(input) {
    Object.assign(this, { input, rate: input.rate, values: [], first: 0, last: null });
  }

  get end() { return this.first + this.values.length; }

  forget(before) {
    while (this.values.length && this.first < before) {
      this.values.shift();
      this.first += 1;
    }
  }

  take(first, count) { return this.values.slice(Math.max(first - this.first, 0), first + count - this.first); }
}

/** Samples, interpolated linearly; null where there were none. */
class Samples extends Rows {
  push(time, values) {
    if (this.last === null) {
      while (this.end / this.rate < time - 0.5 / this.rate) this.values.push(null);
    } else if (time <= this.last[0]) return;
    for (let at = this.end / this.rate; at <= time + 1e-4 / this.rate; at = this.end / this.rate) {
      this.values.push(this.between(at, time, values));
    }
    this.last = [time, values];
  }

  between(at, time, values) {
    if (time - at <= 1e-4 / this.rate || this.last === null) return values;
    const [before, old] = this.last;
    const silent = time - before > Math.max(GAP, 2 / this.rate);
    if (silent && Math.min(at - before, time - at) > 0.5 / this.rate) return null;
    const weight = (at - before) / (time - before);
    return values.map((x, i) => old[i] * (1 - weight) + x * weight);
  }
}

/** Pictures: of each row the last that was shown by its middle; null where none came. */
class Pictures extends Rows {
  push(time, pixels) {
    if (this.last && time <= this.last[0]) return;
    this.until(time);
    this.last = [time, pixels];
    this.until(time + 0.75 / this.rate);
  }

  until(time) {
    for (let at = (this.end + 0.5) / this.rate; at < time - 6e-4; at = (this.end + 0.5) / this.rate) {
      const shown = this.last && at - this.last[0] <= Math.max(GAP, 2 / this.rate);
      this.values.push(shown ? this.last[1] : null);
    }
  }
}

/** Events of one track, as `Detector` of events.py. */
class Track {
  constructor(rule, step) {
    Object.assign(this, { rule, step, open: null, quiet: -1e9 });
  }

  push({ start, end }, score, name) {
    const [middle, half] = [(start + end) / 2, this.step / 2];
    if (this.open && score <= this.rule.off) return this.close();
    if (this.open) {
      this.open.end = middle + half;
      if (score > this.open.confidence) Object.assign(this.open, { name, peak: middle, confidence: score });
      return this.raise(end);
    }
    if (score <= this.rule.on || middle - half < this.quiet - 1e-9) return [];
    this.open = { name, start: middle - half, end: middle + half, peak: middle, confidence: score };
    return this.raise(end);
  }

  raise(known) {
    const { open } = this;
    if (open.raised !== undefined || open.end - open.start < this.rule.least - 1e-9) return [];
    open.raised = known;
    return [['raised', { ...open }]];
  }

  close() {
    const { open } = this;
    this.open = null;
    if (!open || open.raised === undefined) return [];
    this.quiet = open.end + this.rule.cool_down;
    return [['ended', { ...open }]];
  }
}

/** In the place of `Stream`: takes frames and samples, and says what the server would. */
export class Local {
  constructor(offer) {
    Object.assign(this, { offer, dropped: 0, next: 0, first: null, latest: 0, passed: 0, ready: false });
    this.rows = offer.local.inputs.map((one) => (
      one.source === 'imu' ? new Samples(one) : new Pictures(one)));
    this.tracks = new Map();
    this.canvas = document.createElement('canvas');
  }

  async open(begin, hear, end) {
    this.socket = null;
    Object.assign(this, { hear, end });
    try {
      const base = new URL('runtime/', location.href).href;
      this.ort = await import(`${base}ort.wasm.min.mjs`);
      this.ort.env.wasm.wasmPaths = base;
      this.ort.env.wasm.numThreads = 1;
      const answer = await fetch(this.offer.local.model);
      if (!answer.ok) throw new Error((await answer.text()).trim());
      this.session = await this.ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer()));
      this.ready = true;
      hear({ state: 'started' });
    } catch (error) {
      end(`This browser cannot run the model: ${error.message}`);
    }
  }

  sample(time, values) { return this.put('imu', time, values); }

  frame(time, jpeg, canvas) {
    const input = this.offer.local.inputs.find((one) => one.source === 'video');
    return this.put('video', time, this.square(canvas, stepOf(input, 'square', 'whole')));
  }

  /** The pixels, RGBA, of a picture or its middle as a square. */
  square(canvas, { size, operation }) {
    const { width, height } = canvas;
    const side = Math.min(width, height);
    const [w, h] = operation === 'square' ? [side, side] : [width, height];
    this.canvas.width = size;
    this.canvas.height = size;
    const context = this.canvas.getContext('2d', { willReadFrequently: true });
    context.imageSmoothingQuality = 'high';
    context.drawImage(canvas, (width - w) / 2, (height - h) / 2, w, h, 0, 0, size, size);
    return context.getImageData(0, 0, size, size).data;
  }

  put(source, time, value) {
    if (!this.ready) return false;
    this.first ??= time;
    this.latest = time - this.first;
    this.rows.filter((one) => one.input.source === source).forEach((one) => one.push(this.latest, value));
    this.decide();
    return true;
  }

  isReady(number) {
    const start = number * this.offer.step;
    const { seconds } = this.offer;
    return this.rows.every((one) => {
      const [first, count] = rowsOf(one.rate, start, seconds);
      return one.end >= first + count;
    }) || Math.max(...this.rows.map((one) => one.end / one.rate)) > start + seconds + PATIENCE;
  }

  /** Runs the model on the latest window, if one has ended and none is computed. */
  async decide() {
    if (this.busy || !this.isReady(this.next)) return;
    while (this.isReady(this.next + 1)) {
      this.next += 1;
      this.passed += 1;
    }
    const start = this.next * this.offer.step;
    const window = { start, end: start + this.offer.seconds, after: this.latest };
    this.next += 1;
    const feeds = this.feeds(window);
    this.rows.forEach((one) => one.forget(rowsOf(one.rate, this.next * this.offer.step, 0)[0]));
    this.busy = true;
    try {
      if (feeds) this.judge(window, await this.session.run(feeds), feeds);
      this.say(window);
    } catch (error) {
      this.end(error.message);
    }
    this.busy = false;
  }

  /** What the model takes of a window; null, and `lacking` in it, if too little was recorded. */
  feeds(window) {
    const { names } = this.offer.local;
    const feeds = {};
    const tensor = (data, shape) => new this.ort.Tensor('float32', data, [1, ...shape]);
    const present = {};
    for (const one of this.rows) {
      const { name, source, shape } = one.input;
      const [first, count] = rowsOf(one.rate, window.start, this.offer.seconds);
      const rows = one.take(first, count);
      const heard = rows.filter((row) => row !== null).length / count;
      present[name] = heard >= LEAST_HEARD;
      const zeros = new Float32Array(shape.reduce((a, b) => a * b));
      if (source === 'imu') {
        const [data, mask] = present[name] ? prepareSignal(one.input, rows)
          : [zeros, new Float32Array(shape[0])];
        feeds[name] = tensor(data, shape);
        feeds[`${name}_mask`] = tensor(mask, [shape[0]]);
      } else feeds[name] = tensor(present[name] ? prepareFrames(one.input, rows) : zeros, shape);
      feeds[`${name}_present`] = new this.ort.Tensor('float32', [present[name] ? 1 : 0], [1]);
    }
    const lacking = Object.keys(present).filter((name) => !present[name]);
    if (lacking.length) window.lacking = lacking;
    const needed = lacking.some((name) => !names.includes(`${name}_present`));
    if (needed || lacking.length === this.rows.length) return null;
    return Object.fromEntries(Object.entries(feeds).filter(([name]) => names.includes(name)));
  }

  judge(window, outputs, feeds) {
    if (outputs.logits) {
      const logits = [...outputs.logits.data];
      const powers = logits.map((x) => Math.exp(x - Math.max(...logits)));
      const sum = powers.reduce((a, b) => a + b);
      window.probabilities = powers.map((x) => x / sum);
      window.confidence = Math.max(...window.probabilities);
      window.class = this.offer.labels[window.probabilities.indexOf(window.confidence)];
    }
    if (outputs.anomaly) [window.score] = outputs.anomaly.data;
    const errors = Object.entries(outputs).filter(([name]) => name.startsWith('reconstruction_'))
      .map(([name, { data }]) => this.error(name.slice('reconstruction_'.length), data, feeds));
    if (errors.length) window.score = errors.reduce((a, b) => a + b) / errors.length;
  }

  /** The mean squared error over samples and channels that were recorded. */
  error(name, given, feeds) {
    const { data, dims } = feeds[name];
    const each = data.length / dims[1];
    const mask = feeds[`${name}_mask`]?.data;
    let [sum, weight] = [0, 0];
    data.forEach((x, i) => {
      const w = mask ? mask[Math.floor(i / each)] : 1;
      sum += w * (given[i] - x) ** 2;
      weight += w / each;
    });
    return sum / each / Math.max(weight, 1);
  }

  say(window) {
    this.hear({ state: 'window', ...window });
    for (const [state, event] of this.events(window)) this.hear({ state, ...event });
    this.hear({ state: 'counters', dropped: {}, windows: { passed_over: this.passed }, waited_ms: { p95: 0 } });
  }

  events(window) {
    const { rule, threshold, step, abnormal, labels } = this.offer;
    const track = (name, given) => {
      if (!this.tracks.has(name)) this.tracks.set(name, new Track(given, step));
      return this.tracks.get(name);
    };
    const p = window.probabilities;
    if (!p && window.score === undefined) return [...this.tracks.values()].flatMap((one) => one.close());
    const found = [];
    if (p && abnormal.length) {
      const of = (name) => p[labels.indexOf(name)];
      const [likeliest] = [...abnormal].sort((a, b) => of(b) - of(a));
      const sum = abnormal.reduce((total, name) => total + of(name), 0);
      found.push(...track('abnormal', rule).push(window, sum, likeliest));
    } else if (p) labels.forEach((name, i) => found.push(...track(name, rule).push(window, p[i], name)));
    if (window.score !== undefined && threshold) {
      const scored = { ...rule, on: 1, off: rule.off / rule.on };
      found.push(...track('anomaly', scored).push(window, window.score / threshold, 'anomaly'));
    }
    return found;
  }

  stop() {
    this.ready = false;
    this.tracks.forEach((one) => one.close().forEach(([state, event]) => this.hear({ state, ...event })));
    this.session?.release();
    this.end('');
  }
}
