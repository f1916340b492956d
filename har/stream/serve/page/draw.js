// Curves on canvases.

const COLOURS = ['#5cc8ff', '#ffb454', '#7ee787', '#d2a8ff', '#ff9492', '#e3d26f', '#79e0d0', '#b8c4ce'];
export const colour = (i) => COLOURS[i % COLOURS.length];

/** A canvas that is as sharp as the screen, cleared; its context has pixels of CSS. */
function begin(canvas, height) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = '11px system-ui, sans-serif';
  return { context, width, height };
}

function line(context, points, style, thick = 1.5) {
  context.strokeStyle = style;
  context.lineWidth = thick;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

/**
 * Samples of the last seconds, each group of channels of one unit in a strip of its own.
 *
 * `samples` are [time, values], `groups` lists of channels.
 */
export function signals(canvas, samples, groups, end, seconds) {
  const { context, width, height } = begin(canvas, 150);
  const strip = height / Math.max(groups.length, 1);
  groups.forEach((group, g) => {
    let largest = 1e-9;
    for (const [, values] of samples) {
      for (const i of group.channels) largest = Math.max(largest, Math.abs(values[i]));
    }
    const [middle, high] = [strip * (g + 0.5), 0.44 * strip];
    line(context, [[0, middle], [width, middle]], '#26343f', 1);
    for (const i of group.channels) {
      const points = samples.map(([time, values]) => [
        width * (1 - (end - time) / seconds),
        middle - (values[i] / largest) * high,
      ]);
      line(context, points, colour(i));
    }
    context.fillStyle = '#9db0be';
    context.fillText(`±${largest.toPrecision(2)} ${group.unit}`, 6, strip * (g + 1) - 5);
  });
}

/** Scores [start, end, value] of windows of the last minute, the threshold, and events in red. */
export function scores(canvas, windows, threshold, events, end, seconds, red) {
  const { context, width, height } = begin(canvas, 120);
  const highest = Math.max(1, 1.15 * threshold, ...windows.map((one) => one[2])) * 1.05;
  const x = (time) => width * (1 - (end - time) / seconds);
  const y = (value) => height - 4 - (value / highest) * (height - 12);
  context.fillStyle = red ? 'rgb(255 77 79 / .32)' : 'rgb(92 200 255 / .22)';
  for (const one of events) context.fillRect(x(one.start), 0, Math.max(x(one.end) - x(one.start), 2), height);
  context.setLineDash([5, 4]);
  line(context, [[0, y(threshold)], [width, y(threshold)]], '#e9f0f5', 1);
  context.setLineDash([]);
  context.fillStyle = '#9db0be';
  context.fillText(`threshold ${threshold.toPrecision(2)}`, 6, y(threshold) - 4);
  line(context, windows.map(([start, stop, value]) => [x((start + stop) / 2), y(value)]), '#5cc8ff', 2);
}
