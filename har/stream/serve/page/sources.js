// The camera and the motion sensors of a device.

const QUALITY = 0.9;
// Browsers of iOS give acceleration with the opposite sign (Core Motion's) of the W3C's.
const APPLE = /iP(hone|ad|od)/.test(navigator.userAgent)
  || (navigator.platform === 'MacIntel' && navigator.maxTouchPoints > 1);

/** Seconds on the clock of frames and samples. */
export const now = () => performance.now() / 1000;

/** What this page cannot do here, line by line; empty if it can do everything. */
export function missing(needed) {
  const lines = [];
  if (!window.isSecureContext) {
    lines.push(`Browsers give cameras and motion sensors only to pages that come over HTTPS, and this `
      + `one came from ${location.origin}: start the server with --certificate and --key.`);
  } else {
    if (needed.video && !navigator.mediaDevices) lines.push('This browser has no camera for pages.');
    if (needed.imu && !('DeviceMotionEvent' in window)) {
      lines.push('This browser has no motion sensors for pages.');
    }
  }
  return lines;
}

/** A camera whose pictures are given as JPEG, at a rate and with a short side of so many pixels. */
export class Camera {
  constructor(video, { rate, short_side: side }) {
    Object.assign(this, { video, rate, side, busy: false, skipped: 0 });
    this.canvas = document.createElement('canvas');
  }

  /** Asks for the camera; `take(time, blob, canvas)` is called for each picture from then on. */
  async start(facing, take) {
    const wanted = { facingMode: facing, width: { ideal: 640 }, height: { ideal: 480 } };
    this.stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    this.video.srcObject = this.stream;
    await this.video.play();
    this.take = take;
    this.next = now();
    this.wait();
  }

  wait() {
    // Called for each new picture of the camera, where browsers can; else as often as is needed.
    if (this.video.requestVideoFrameCallback) {
      this.video.requestVideoFrameCallback(() => this.tick());
    } else {
      this.timer = setTimeout(() => this.tick(), 500 / this.rate);
    }
  }

  tick() {
    if (!this.stream) return;
    this.wait();
    const time = now();
    if (time < this.next - 0.25 / this.rate) return;
    this.next = Math.max(this.next + 1 / this.rate, time - 1 / this.rate);
    if (this.busy) this.skipped += 1;
    else this.shoot(time);
  }

  shoot(time) {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width) return;
    const scale = Math.min(1, this.side / Math.min(width, height));
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const context = this.canvas.getContext('2d', { willReadFrequently: true });
    context.imageSmoothingQuality = 'high';
    context.drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    this.busy = true;
    this.canvas.toBlob((blob) => {
      this.busy = false;
      if (blob && this.stream) this.take(time, blob, this.canvas);
    }, 'image/jpeg', QUALITY);
  }

  stop() {
    clearTimeout(this.timer);
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
  }
}

/** The motion sensors of a phone, as the channels that a model takes. */
export class Motion {
  constructor({ channels }) {
    this.channels = channels;
  }

  /** Why the channels cannot be had; empty if they can. */
  get lacking() {
    const none = this.channels.filter((one) => !one.of).map((one) => one.name);
    return none.length ? `A phone does not measure ${none.join(', ')} as this model takes it.` : '';
  }

  /** Asks for them, from within a tap; `take(time, values)` is called for each sample. */
  async start(take) {
    if (typeof DeviceMotionEvent.requestPermission === 'function') {
      const answer = await DeviceMotionEvent.requestPermission();
      if (answer !== 'granted') throw new Error('The motion sensors were not allowed.');
    }
    this.latest = -Infinity;
    this.listener = (event) => this.read(event, take);
    window.addEventListener('devicemotion', this.listener);
  }

  read(event, take) {
    const { accelerationIncludingGravity: a, rotationRate: r } = event;
    const sign = APPLE ? -1 : 1;
    const measured = {
      acceleration: a && [a.x, a.y, a.z].map((x) => (x === null ? null : sign * x)),
      rotation: r && [r.alpha, r.beta, r.gamma], // About x, y and z.
    };
    const values = this.channels.map(({ of, axis, factor }) => {
      const value = measured[of]?.[axis];
      return Number.isFinite(value) ? value * factor : NaN;
    });
    const time = now();
    if (time <= this.latest || values.some(Number.isNaN)) return;
    this.latest = time;
    take(time, values);
  }

  stop() {
    window.removeEventListener('devicemotion', this.listener);
  }
}
