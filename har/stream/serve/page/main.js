// Brings the parts of the page together.

import { Camera, Motion, missing, now } from './sources.js';
import { Local } from './local.js';
import { Stream } from './stream.js';
import { View, followed } from './view.js';
import * as upload from './upload.js';

const at = (id) => document.getElementById(id);
const notice = (text) => {
  at('notice').textContent = text;
  at('notice').hidden = !text;
};
const state = (text, kind = '') => {
  at('state').textContent = text;
  at('state').className = `pill ${kind}`;
};
const milliseconds = (x) => `${Math.round(x)} ms`;

let about; // What the server offers.
let running = null; // The stream that goes on.

/** What the boxes ask for, and what the server has for it. */
function chosen() {
  const sources = [];
  if (at('motion').checked) sources.push('imu');
  if (at('camera').checked) sources.push('video');
  return about.offers.find((one) => one.sources.join() === sources.join());
}

function told(offer) {
  const reads = { imu: 'motion', video: 'camera' };
  const what = offer.sources.map((one) => reads[one]).join(' and ');
  return `${offer.dataset} · ${offer.stage} (${what}), ${offer.variant} · windows of ${offer.seconds.toFixed(1)} s`;
}

function choose() {
  const offer = chosen();
  at('start').disabled = !running && !offer;
  at('local-label').hidden = !offer?.local;
  const there = about.offers.map((one) => one.sources.map((name) => (
    name === 'imu' ? 'motion sensors' : 'camera')).join(' and ')).join(', or ');
  at('model').textContent = offer ? told(offer) : `choose ${there}`;
  const lines = missing({ video: at('camera').checked, imu: at('motion').checked });
  if (offer?.imu) {
    const { lacking } = new Motion(offer.imu);
    if (lacking) lines.push(`${lacking} A recording can be sent below.`);
  }
  notice(lines.join('\n'));
}

/** One stream, from the tap on Start on. */
class Running {
  constructor(offer) {
    this.offer = offer;
    this.view = new View(offer);
    this.stream = at('local').checked && offer.local ? new Local(offer) : new Stream();
    this.counts = { frames: 0, samples: 0, windows: 0 };
    this.first = null; // The time of what was sent first: windows count from there.
    this.sources = [];
  }

  async start() {
    const { offer } = this;
    const begin = {};
    for (const name of offer.sources) begin[name] = { rate: offer[name].rate };
    if (offer.imu) { // First: it has to be asked for from within a tap.
      const motion = new Motion(offer.imu);
      this.sources.push(motion);
      await motion.start((time, values) => this.sample(time, values));
    }
    if (offer.video) {
      this.camera = new Camera(at('video'), offer.video);
      this.sources.push(this.camera);
      await this.camera.start(at('facing').value, (...shot) => this.frame(...shot));
    }
    this.stream.open(begin, (message) => this.hear(message), (reason) => this.end(reason));
    state('connecting');
    this.animate();
  }

  sample(time, values) {
    this.view.sample(time, values);
    if (this.stream.sample(time, values)) this.sent('samples', time);
  }

  frame(time, jpeg, canvas) {
    if (this.stream.frame(time, jpeg, canvas)) this.sent('frames', time);
  }

  sent(what, time) {
    this.counts[what] += 1;
    this.first ??= time;
  }

  hear(message) {
    if (message.state === 'started') {
      state(this.stream instanceof Local ? 'live, on this device' : 'live', 'on');
    } else if (message.state === 'window') {
      this.counts.windows += 1;
      at('latency').textContent = milliseconds(1000 * (now() - this.first - message.after));
      this.view.window(message);
    } else if (message.state === 'counters') {
      const dropped = Object.values(message.dropped).reduce((a, b) => a + b, 0);
      at('dropped-there').textContent = dropped + message.windows.passed_over;
      at('waited').textContent = milliseconds(message.waited_ms.p95);
    } else {
      this.view.event(message.state, message);
    }
  }

  animate() {
    if (running !== this) return;
    const clock = now();
    this.view.draw(clock, clock - (this.first ?? clock));
    for (const name of ['frames', 'samples', 'windows']) at(name).textContent = this.counts[name];
    at('dropped-here').textContent = this.stream.dropped + (this.camera?.skipped ?? 0);
    requestAnimationFrame(() => this.animate());
  }

  stop() {
    this.sources.forEach((one) => one.stop());
    this.stream.stop();
  }

  end(reason) {
    this.sources.forEach((one) => one.stop());
    if (running !== this) return;
    running = null;
    at('start').textContent = 'Start';
    this.view.show(false);
    state(reason ? 'ended' : 'stopped', reason ? 'bad' : '');
    if (reason) notice(reason);
  }
}

async function toggle() {
  if (running) {
    running.stop();
    return;
  }
  notice('');
  running = new Running(chosen());
  at('start').textContent = 'Stop';
  try {
    await running.start();
  } catch (error) {
    running.end(error.name === 'NotAllowedError' ? 'The camera or the sensors were not allowed.'
      : error.name === 'NotFoundError' ? 'This device has no camera.' : error.message);
  }
}

async function send() {
  const files = [...at('files').files];
  if (!files.length) return;
  at('send').disabled = true;
  at('answer').textContent = 'is gone through…';
  try {
    show(await upload.send(files, about.limits.upload));
  } catch (error) {
    at('answer').textContent = error.message;
  }
  at('send').disabled = false;
}

/** Shows the timeline of a recording. */
function show(timeline) {
  const offer = about.offers.find((one) => one.stage === timeline.stage) ?? about.offers[0];
  const view = new View({ ...offer, threshold: timeline.threshold });
  const windows = upload.windows(timeline, offer.labels);
  windows.forEach((one) => view.window(one));
  view.windows = windows.map((one) => [one.start, one.end, followed(one, view.offer)[0]])
    .filter(([, , value]) => value !== null);
  timeline.events.forEach((one) => view.event('ended', one));
  view.span = windows.at(-1).end;
  view.draw(0, view.span);
  const notes = timeline.notes.map((note) => `\n${note}`).join('');
  at('answer').textContent = `${windows.length} windows, ${timeline.events.length} events.${notes}`;
}

async function main() {
  // The token has become a cookie: it need not stay where it can be seen or copied.
  if (location.search) history.replaceState(null, '', location.pathname);
  const answer = await fetch('offers');
  if (!answer.ok) throw new Error((await answer.text()).trim());
  about = await answer.json();
  const most = about.offers.at(-1).sources;
  for (const [id, name] of [['camera', 'video'], ['motion', 'imu']]) {
    at(id).checked = most.includes(name);
    at(id).disabled = !about.offers.some((one) => one.sources.includes(name));
    at(id).addEventListener('change', choose);
  }
  at('start').addEventListener('click', toggle);
  at('send').addEventListener('click', send);
  choose();
}

main().catch((error) => notice(error.message));
