// What is shown of a stream.

import * as draw from './draw.js';

const [SIGNALS, SCORES, LISTED] = [10, 60, 100]; // Seconds, seconds, events.
const HELD = 3000; // Milliseconds for which an alarm stays that is over.
const at = (id) => document.getElementById(id);
const percent = (x) => `${Math.round(100 * x)}%`;

/** What of a window is compared with which threshold. */
export function followed(window, offer) {
  if (window.score !== undefined && offer.threshold) return [window.score / offer.threshold, 1];
  if (!window.probabilities) return [null, offer.rule.on];
  const abnormal = offer.abnormal.map((name) => window.probabilities[offer.labels.indexOf(name)]);
  return [abnormal.length ? abnormal.reduce((a, b) => a + b) : window.confidence, offer.rule.on];
}

export class View {
  constructor(offer) {
    this.offer = offer;
    this.samples = [];
    this.windows = [];
    this.events = [];
    this.open = new Map();
    this.threshold = offer.threshold ? 1 : offer.rule.on;
    this.red = Boolean(offer.abnormal.length || offer.threshold);
    this.groups = [];
    (offer.imu?.channels ?? []).forEach(({ unit }, i) => {
      const group = this.groups.find((one) => one.unit === unit);
      if (group) group.channels.push(i);
      else this.groups.push({ unit, channels: [i] });
    });
    at('legend').replaceChildren(...(offer.imu?.channels ?? []).map(({ name }, i) => {
      const [text, dot] = [document.createElement('span'), document.createElement('i')];
      dot.style.background = draw.colour(i);
      text.append(dot, name);
      return text;
    }));
    this.list();
    this.verdict(null);
  }

  sample(time, values) {
    this.samples.push([time, values]);
    while (this.samples.length && this.samples[0][0] < time - SIGNALS) this.samples.shift();
  }

  window(one) {
    const [value] = followed(one, this.offer);
    if (value !== null) this.windows.push([one.start, one.end, value]);
    while (this.windows.length && this.windows[0][1] < one.end - SCORES - 5) this.windows.shift();
    this.verdict(one);
  }

  /** An event has begun or ended. */
  event(state, one) {
    const key = this.red ? `${one.start}` : `${one.name} ${one.start}`;
    const old = this.open.get(key);
    if (old) this.events.splice(this.events.indexOf(old), 1);
    const event = { ...one, going: state === 'raised' };
    this.events.unshift(event);
    this.events.length = Math.min(this.events.length, LISTED);
    if (event.going) this.open.set(key, event);
    else this.open.delete(key);
    this.list();
    this.alarm();
  }

  alarm() {
    clearTimeout(this.held);
    if (this.open.size) this.show(this.red);
    else this.held = setTimeout(() => this.show(false), HELD);
  }

  show(alarming) {
    at('verdict').classList.toggle('alarming', alarming);
    at('alarm').hidden = !alarming;
  }

  list() {
    at('count').textContent = this.events.length || '';
    const items = this.events.map((one) => {
      const item = document.createElement('li');
      const [name, when] = [document.createElement('b'), document.createElement('span')];
      item.classList.toggle('red', this.red);
      name.textContent = one.name;
      const sure = this.offer.threshold && one.name === 'anomaly'
        ? `${one.confidence.toFixed(1)} × threshold` : percent(one.confidence);
      when.textContent = `${one.start.toFixed(1)}–${one.going ? '…' : one.end.toFixed(1)} s, ${sure}`;
      item.append(name, when);
      return item;
    });
    if (!items.length) {
      const item = document.createElement('li');
      item.className = 'quiet';
      item.textContent = 'none yet';
      items.push(item);
    }
    at('events').replaceChildren(...items);
  }

  verdict(one) {
    const [value, threshold] = one ? followed(one, this.offer) : [null, this.threshold];
    const lacking = one?.lacking?.length ? `too little of ${one.lacking.join(', ')}` : '';
    if (!one) {
      at('class').textContent = '–';
      at('confidence').textContent = 'nothing is followed yet';
    } else if (one.class) {
      at('class').textContent = one.class;
      at('confidence').textContent = `${percent(one.confidence)} sure${lacking && `; ${lacking}`}`;
    } else {
      at('class').textContent = value === null ? '–' : value > threshold ? 'anomaly' : 'normal';
      at('confidence').textContent = lacking || 'compared with what was learnt';
    }
    const whole = Math.max(1, 1.6 * (this.offer.threshold ? threshold : 0));
    at('gauge').style.width = percent(Math.min((value ?? 0) / whole, 1));
    at('mark').style.left = percent(threshold / whole);
    const what = this.offer.threshold ? 'error, as a multiple of the threshold'
      : this.offer.abnormal.length ? 'probability of what is abnormal' : 'probability';
    at('score').textContent = value === null ? '' : `${what}: ${value.toFixed(2)} (threshold ${threshold})`;
  }

  /** Draws the curves; `clock` is the time of samples now, `end` that of windows. */
  draw(clock, end) {
    draw.signals(at('signals'), this.samples, this.groups, clock, SIGNALS);
    draw.scores(at('scores'), this.windows, this.threshold, this.events.map((one) => (
      one.going ? { start: one.start, end } : one)), end, this.span ?? SCORES, this.red);
  }
}
