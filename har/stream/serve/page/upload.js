// A recording that is sent as files.

/** Sends files; gives the timeline, or throws with what the server said. */
export async function send(files, most) {
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  if (bytes > most) throw new Error(`${Math.round(bytes / 1e6)} MB are more than ${Math.round(most / 1e6)} MB.`);
  const form = new FormData();
  files.forEach((file) => form.append('recording', file));
  const answer = await fetch('predict', { method: 'POST', body: form });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

/** Windows of a timeline as the live ones are. */
export function windows(timeline, labels) {
  return timeline.windows.map((one) => {
    const p = labels.map((name) => one[`p(${name})`]);
    const known = p.every(Number.isFinite) && labels.length;
    const found = { start: one.start, end: one.end, class: one.class, confidence: one.confidence };
    return { ...found, score: one.score ?? undefined, probabilities: known ? p : undefined };
  });
}
