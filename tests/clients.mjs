// Opens a stage's exported files with onnxruntime-web and LiteRT.js (WebAssembly, one thread) in Node.
//
//   python tests/clients.py ... --save=SAVED
//   npm install --prefix=PACKAGES onnxruntime-web @litertjs/core
//   node tests/clients.mjs PACKAGES WORKDIR/export SAVED
//
// For each file: the share of predictions that equal JAX's, and the largest difference of logits.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [packages, exported, saved] = process.argv.slice(2).map((p) => path.resolve(p));
const modules = path.join(packages, 'node_modules');
const require = createRequire(path.join(packages, 'x.js'));

async function onnxruntimeWeb() {
  const ort = require('onnxruntime-web');
  ort.env.wasm.numThreads = 1;
  return async (file) => {
    const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(file)));
    return async (inputs) => {
      const given = Object.entries(inputs).map(([n, [x, shape]]) => [
        n,
        new ort.Tensor('float32', x, shape),
      ]);
      return (await session.run(Object.fromEntries(given))).logits.data;
    };
  };
}

async function litertJs() {
  // It is written for browsers and their workers, which run a script with this function.
  globalThis.self = globalThis;
  globalThis.importScripts = (file) => {
    const script = `${fs.readFileSync(file)}; return ModuleFactory;`;
    globalThis.ModuleFactory = Function('require', '__dirname', script)(require, path.dirname(file));
  };
  const litert = await import(pathToFileURL(path.join(modules, '@litertjs/core/dist/index.js')));
  await litert.loadLiteRt(path.join(modules, '@litertjs/core/wasm/'));
  return async (file) => {
    const content = new Uint8Array(fs.readFileSync(file));
    const model = await litert.loadAndCompile(content, { accelerator: 'wasm' });
    return async (inputs) => {
      const given = Object.entries(inputs).map(([n, [x, shape]]) => [n, new litert.Tensor(x, shape)]);
      const outputs = await model.run(Object.fromEntries(given));
      const logits = Float32Array.from(outputs.logits.toTypedArray());
      [...given.map(([, x]) => x), ...Object.values(outputs)].forEach((x) => x.delete());
      return logits;
    };
  };
}

function read(name) {
  const shapes = JSON.parse(fs.readFileSync(path.join(saved, `${name}.json`)));
  const arrays = {};
  for (const [key, [count, ...shape]] of Object.entries(shapes)) {
    const bytes = fs.readFileSync(path.join(saved, `${name}.${key}.bin`));
    const all = new Float32Array(new Uint8Array(bytes).buffer);
    const size = all.length / count;
    arrays[key] = Array.from({ length: count }, (_, i) => [
      all.slice(i * size, (i + 1) * size),
      [1, ...shape],
    ]);
  }
  return arrays;
}

const best = (x) => x.indexOf(Math.max(...x));

async function compare(open, file, name) {
  const { expected, ...inputs } = read(name);
  const { inputs: taken } = JSON.parse(fs.readFileSync(`${file}.json`));
  const call = await open(file);
  let [equal, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const one = Object.fromEntries(Object.keys(taken).map((n) => [n, inputs[n][i]]));
    const logits = await call(one);
    const [wanted] = expected[i];
    equal += best(Array.from(logits)) === best(Array.from(wanted));
    largest = Math.max(largest, ...Array.from(wanted, (x, c) => Math.abs(x - logits[c])));
  }
  return `${((100 * equal) / expected.length).toFixed(1)}%, ${largest.toPrecision(2)}`;
}

const clients = [
  ['onnxruntime-web', 'onnx', await onnxruntimeWeb()],
  ['LiteRT.js', 'tflite', await litertJs()],
];
for (const stage of fs.readdirSync(exported)) {
  for (const [client, suffix, open] of clients) {
    for (const file of fs.readdirSync(path.join(exported, stage))) {
      const name = `${stage}-${file.slice(0, -suffix.length - 1)}`;
      if (!file.endsWith(`.${suffix}`) || !fs.existsSync(path.join(saved, `${name}.json`))) continue;
      const what = await compare(open, path.join(exported, stage, file), name).catch(String);
      console.log(`${stage}/${file}`, client, what);
    }
  }
}
