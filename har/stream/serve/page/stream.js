// The WebSocket to the server; what it takes is told in har/stream/serve/messages.py.

const [FRAME, SAMPLES] = [1, 2];
const BACKLOG = 2 ** 18; // Bytes that wait to be sent: a slower line has frames dropped, not late.

export class Stream {
  constructor() {
    this.dropped = 0;
  }

  /** Opens it; `hear` is called with each message, `end(reason)` when it ends. */
  open(start, hear, end) {
    const address = new URL('stream', location.href);
    address.protocol = address.protocol.replace('http', 'ws');
    address.search = '';
    this.socket = new WebSocket(address);
    this.socket.binaryType = 'arraybuffer';
    this.ready = false;
    this.socket.onopen = () => this.socket.send(JSON.stringify({ type: 'start', ...start }));
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.state === 'started') this.ready = true;
      hear(message);
    };
    this.socket.onclose = ({ code, reason }) => {
      this.ready = false;
      if (code === 1000) end('');
      else end(reason || `The connection to the server ended (${code}).`);
    };
  }

  /** Whether something was sent, and not dropped because too much waits. */
  put(message) {
    if (!this.ready || this.socket.readyState !== WebSocket.OPEN) return false;
    if (this.socket.bufferedAmount > BACKLOG) {
      this.dropped += 1;
      return false;
    }
    this.socket.send(message);
    return true;
  }

  frame(time, jpeg) {
    const head = new DataView(new ArrayBuffer(9));
    head.setUint8(0, FRAME);
    head.setFloat64(1, time, true);
    return this.put(new Blob([head, jpeg]));
  }

  sample(time, values) {
    const view = new DataView(new ArrayBuffer(1 + 8 * (1 + values.length)));
    view.setUint8(0, SAMPLES);
    [time, ...values].forEach((x, i) => view.setFloat64(1 + 8 * i, x, true));
    return this.put(view);
  }

  stop() {
    this.ready = false;
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send('{"type": "stop"}');
    else this.socket?.close();
  }
}
