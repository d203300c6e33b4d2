// The page of a viewer: a canvas that pans and zooms over tiles, layers above each other, and the panel beside it.
// Names of files and classes only ever reach the page as text (textContent), never as markup.
'use strict';

const TILE = 512, HELD = 160 << 20, AT_ONCE = 8, AGAIN = 600;
const $ = id => document.getElementById(id);
const canvas = $('canvas'), context = canvas.getContext('2d');
const sheet = document.createElement('canvas'), drawing = sheet.getContext('2d');
const calm = matchMedia('(prefers-reduced-motion: reduce)');

const state = {list: [], score: '', number: -1, image: null, x: 0, y: 0, scale: 1, places: [], place: -1, counts: null,
  hidden: new Set(), cursor: null, alone: false, opening: 0};
// Times that a test or a curious user reads in the console.
window.saccade = {state, times: {}, pending: () => waiting.size + loading.size};

// ---- small helpers

function make(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

async function ask(path, signal) {
  const answer = await fetch(path, {signal});
  const value = await answer.json().catch(() => ({error: `the server answered ${answer.status}`}));
  if (!answer.ok) throw new Error(value.error || `the server answered ${answer.status}`);
  return value;
}

let fading = 0;
function say(text, lasting = false) {
  $('message').textContent = text;
  $('message').hidden = !text;
  clearTimeout(fading);
  if (text && !lasting) fading = setTimeout(() => say(''), 4000);
}

function clamp(value, low, high) { return Math.min(Math.max(value, low), high); }

function amount(number, unit) {
  const steps = unit === 'm²' ? [[1e6, 'km²'], [1e4, 'ha'], [1, 'm²'], [1e-6, 'mm²'], [1e-12, 'µm²']]
    : [[1e3, 'km'], [1, 'm'], [1e-3, 'mm'], [1e-6, 'µm'], [1e-9, 'nm']];
  const [size, name] = steps.find(([size]) => number >= size) || steps[steps.length - 1];
  return `${Number((number / size).toPrecision(3))} ${name}`;
}

// ---- the images

async function start() {
  const told = await ask('images');
  state.list = told.images;
  state.score = told.score;
  $('ranked').textContent = told.score ? `worst ${told.score} first` : '';
  $('images').hidden = told.images.length < 2;
  fillList();
  const place = read(location.hash);
  await open(clamp(place.i || 0, 0, Math.max(0, state.list.length - 1)), place);
}

function fillList() {
  const wanted = $('filter').value.trim().toLowerCase();
  const rows = [];
  state.list.forEach((one, number) => {
    if (wanted && !one.name.toLowerCase().includes(wanted)) return;
    if (rows.length >= 2000) return;
    const button = make('button', {onclick: () => open(number)}, make('span', {textContent: one.name}));
    if (one.score !== null) button.append(make('span', {className: 'soft', textContent: one.score.toFixed(3)}));
    button.dataset.number = number;
    button.setAttribute('aria-current', number === state.number);
    rows.push(make('li', {}, button));
  });
  $('list').replaceChildren(...rows);
}

async function open(number, place = {}) {
  const opening = ++state.opening;
  forget();
  Object.assign(state, {number, image: null, places: [], place: -1, counts: null, cursor: null});
  state.hidden.clear();
  $('name').textContent = state.list[number] ? state.list[number].name : '';
  for (const button of $('list').querySelectorAll('button')) {
    const here = Number(button.dataset.number) === number;
    button.setAttribute('aria-current', here);
    if (here) button.scrollIntoView({block: 'nearest'});
  }
  for (const id of ['layers', 'facts', 'notices', 'class-rows']) $(id).replaceChildren();
  $('errors').hidden = $('classes').hidden = true;
  say('opening …', true);
  draw();
  let told;
  try {
    told = await ask(`image/${number}`);
  } catch (problem) {
    if (opening === state.opening) say(problem.message, true);
    return;
  }
  if (opening !== state.opening) return;
  say('');
  document.title = `${told.name} – Saccade`;
  told.layers.forEach((layer, index) => {
    const before = remembered[layer.name];
    if (before && layer.kind !== 'image') Object.assign(layer, before);
    Object.assign(layer, {index, table: null});
  });
  state.image = told;
  if (told.legend && told.legend.quiet !== null) state.hidden.add(told.legend.quiet);
  paint();
  fit();
  if (place.s) Object.assign(state, {x: place.x, y: place.y, scale: place.s});
  fillPanel();
  look();
  draw();
  if (told.counts) count(opening);
}

const remembered = {};

// ---- the panel

function fillPanel() {
  const {image} = state, [rows, columns] = image.size;
  $('about').textContent = `${rows} × ${columns} pixels`;
  $('layers').replaceChildren(...image.layers.map((layer, index) => {
    const box = make('input', {type: 'checkbox', checked: layer.shown});
    const slider = make('input', {type: 'range', min: 0, max: 100, value: Math.round(layer.opacity * 100)});
    slider.setAttribute('aria-label', `opacity of ${layer.name}`);
    box.onchange = () => show(index, box.checked);
    slider.oninput = () => { layer.opacity = slider.value / 100; remember(layer); draw(); };
    layer.box = box;
    layer.slider = slider;
    const label = make('label', {}, box, make('span', {textContent: layer.name}));
    if (index < 9) label.append(make('kbd', {textContent: `⇧${index + 1}`}));
    const item = make('li', {}, label, slider);
    if (layer.kind === 'degrees') {
      const bar = make('i');
      bar.style.background = `linear-gradient(to right, ${ramp().filter((_, k) => k % 32 === 0).map(c => `rgb(${c})`)})`;
      item.append(make('div', {className: 'ramp'}, layer.low, bar, layer.high));
    }
    if (layer.kind === 'errors') {
      item.append(make('div', {className: 'ramp'}, swatch('#d55e00', 'missed'), swatch('#56b4e9', 'invented')));
    }
    return item;
  }));
  $('facts').replaceChildren(...Object.entries(image.facts).flatMap(([name, value]) =>
    [make('dt', {textContent: name}), make('dd', {textContent: value})]));
  $('notices').replaceChildren(...image.notices.map(line => make('li', {textContent: line})));
  $('goto').placeholder = image.transform ? 'x, y of the map, or column, row px' : 'column, row';
  $('classes').hidden = !image.legend;
  fillClasses();
}

function swatch(colour, text) {
  const mark = make('i', {className: 'swatch'});
  mark.style.cssText = `background:${colour};flex:none`;
  return make('span', {}, mark, text);
}

function remember(layer) { remembered[layer.name] = {opacity: layer.opacity, shown: layer.shown}; }

function show(index, shown) {
  const layer = state.image.layers[index];
  layer.shown = layer.box.checked = shown;
  remember(layer);
  draw();
}

function className(value) {
  const {legend} = state.image, name = legend.names[value];
  if (name !== undefined) return name;
  return legend.unknown.includes(value) ? `${value} (no class)` : `class ${value}`;
}

function fillClasses() {
  const {image, counts} = state;
  if (!image || !image.legend) return;
  const values = counts ? Object.keys(counts.values).map(Number) : Object.keys(image.legend.names).map(Number);
  for (const name of Object.keys(image.legend.names).map(Number)) if (!values.includes(name)) values.push(name);
  values.sort((a, b) => a - b);
  const one = image.pixel_metres ? image.pixel_metres[0] * image.pixel_metres[1] : 0;
  const total = counts ? {labels: 0, truth: 0} : null;
  if (counts) for (const row of Object.values(counts.values)) for (const key of ['labels', 'truth']) total[key] += row[key] || 0;
  const columns = counts ? ['labels', 'truth'].filter(key => total[key]) : [];
  const head = ['class', ...columns.flatMap(key => one ? [key, 'area'] : [key])];
  if (counts && counts.compared) head.push('IoU');
  $('class-head').replaceChildren(...head.map(text => make('th', {scope: 'col', textContent: text})));
  $('class-rows').replaceChildren(...values.map(value => {
    const box = make('input', {type: 'checkbox', checked: !state.hidden.has(value)});
    box.onchange = () => { state.hidden[box.checked ? 'delete' : 'add'](value); paint(); draw(); };
    const mark = make('i', {className: 'swatch'});
    mark.style.background = image.legend.colours[value];
    const row = make('tr', {}, make('td', {}, make('label', {}, box, mark, make('span', {textContent: className(value)}))));
    row.dataset.value = value;
    const known = counts && counts.values[value] || {};
    for (const key of columns) {
      const pixels = known[key] || 0, share = pixels / total[key] * 100;
      const shown = pixels ? `${share < 0.1 ? '<0.1' : share.toFixed(1)} %` : '–';
      row.append(make('td', {textContent: shown, title: `${pixels.toLocaleString('en')} pixels`}));
      if (one) row.append(make('td', {textContent: pixels ? amount(pixels * one, 'm²') : '–'}));
    }
    if (counts && counts.compared) row.append(make('td', {textContent: known.iou === undefined ? '–' : known.iou.toFixed(3)}));
    return row;
  }));
}

async function count(opening) {
  for (let pause = 200; opening === state.opening; pause = Math.min(pause * 1.5, 2000)) {
    let told;
    try { told = await ask(`counts/${state.number}`); } catch (problem) { $('counting').textContent = problem.message; return; }
    if (opening !== state.opening) return;
    if (told.state === 'counting') {
      $('counting').textContent = `counting every pixel: ${Math.floor(told.share * 100)} %`;
      if (told.values && Object.keys(told.values).length && !state.counts) {
        state.counts = {values: told.values, places: [], compared: false, about: true};
        fillClasses();
      }
      if (state.counts) $('counting').textContent += '; until then about, by the coarsest level';
      await new Promise(done => setTimeout(done, pause));
      continue;
    }
    $('counting').textContent = told.state === 'failed' ? `not counted: ${told.why}` : '';
    if (told.state === 'failed') return;
    state.counts = told;
    state.places = told.places;
    $('errors').hidden = !told.compared;
    $('place').textContent = told.places.length ? `${told.places.length} places, the worst first` : 'none';
    fillClasses();
    return;
  }
}

function jump(step) {
  const {places} = state;
  if (!places.length) return;
  state.place = state.place < 0 ? (step > 0 ? 0 : places.length - 1) : (state.place + step + places.length) % places.length;
  const [x, y, side, wrong] = places[state.place];
  $('place').textContent = `${state.place + 1} of ${places.length}: ${wrong.toLocaleString('en')} wrong pixels`;
  state.scale = clamp(Math.min(canvas.clientWidth, canvas.clientHeight) / (side * 10), least(), 8);
  Object.assign(state, {x, y});
  const layer = state.image.layers.findIndex(one => one.kind === 'errors');
  if (layer >= 0 && !state.image.layers[layer].shown) show(layer, true);
  look();
  draw();
}

// ---- colours of tiles that hold values

let ramped = null;
function ramp() {
  const places = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99],
    [170, 220, 50], [253, 231, 37]];
  ramped = ramped || Array.from({length: 255}, (_, k) => {
    const at = k / 254 * 8, below = Math.min(7, Math.floor(at)), part = at - below;
    return places[below].map((low, c) => Math.round(low + (places[below + 1][c] - low) * part));
  });
  return ramped;
}

// 256 colours of each layer of values, as the bytes red, green, blue, opacity.
function paint() {
  const {image} = state;
  for (const layer of image.layers) {
    const table = new Uint8ClampedArray(1024);
    const put = (value, colour, opacity = 255) => table.set([...colour, opacity], value * 4);
    if (layer.kind === 'classes') {
      image.legend.colours.forEach((colour, value) => {
        const code = parseInt(colour.slice(1), 16), none = image.legend.unknown.includes(value);
        put(value, [code >> 16, code >> 8 & 255, code & 255], none || state.hidden.has(value) ? 0 : 255);
      });
    } else if (layer.kind === 'degrees') ramp().forEach((colour, value) => put(value, colour));
    else if (layer.kind === 'errors') { put(1, [213, 94, 0]); put(2, [86, 180, 233]); }
    else if (layer.kind === 'points') { put(0, [0, 0, 0], 110); put(254, [255, 255, 255]); }
    else continue;
    layer.table = new Uint32Array(table.buffer);
  }
  for (const tile of tiles.values()) if (tile.values) colour(tile);
}

function colour(tile) {
  const table = state.image.layers[tile.layer].table, {values, picture} = tile;
  const pixels = new Uint32Array(values.length);
  for (let k = 0; k < values.length; k++) pixels[k] = table[values[k]];
  const data = new ImageData(new Uint8ClampedArray(pixels.buffer), picture.width, picture.height);
  picture.getContext('2d').putImageData(data, 0, 0);
}

// ---- tiles: those used last, what is asked for, the middle of the view first

const tiles = new Map(), waiting = new Map(), loading = new Map();
let held = 0;

function forget() {
  for (const tile of tiles.values()) drop(tile);
  tiles.clear();
  waiting.clear();
  for (const stop of loading.values()) stop.abort();
  loading.clear();
  failed.clear();
  held = 0;
}

function drop(tile) {
  held -= tile.bytes;
  if (tile.picture.close) tile.picture.close();
}

function load() {
  while (loading.size < AT_ONCE && waiting.size) {
    let best = null;
    for (const one of waiting.values()) if (!best || one.rank < best.rank) best = one;
    waiting.delete(best.key);
    fetchTile(best);
  }
}

async function fetchTile({key, layer, z, x, y}) {
  const stop = new AbortController(), {number, opening} = state;
  loading.set(key, stop);
  try {
    const answer = await fetch(`tile/${number}/${layer}/${z}/${x}/${y}`, {signal: stop.signal});
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error || `a tile: ${answer.status}`);
    const partial = answer.headers.get('X-Partial') === '1';
    const bitmap = await createImageBitmap(await answer.blob(), {colorSpaceConversion: 'none', premultiplyAlpha: 'default'});
    if (opening !== state.opening) return;
    const tile = {layer, picture: bitmap, bytes: bitmap.width * bitmap.height * 4, again: 0, values: null};
    if (state.image.layers[layer].table) {
      const still = new OffscreenCanvas(bitmap.width, bitmap.height), pen = still.getContext('2d', {willReadFrequently: true});
      pen.drawImage(bitmap, 0, 0);
      const {data} = pen.getImageData(0, 0, still.width, still.height);
      tile.values = new Uint8Array(data.length / 4);
      for (let k = 0; k < tile.values.length; k++) tile.values[k] = data[k * 4];
      tile.bytes += tile.values.length;
      tile.picture = new OffscreenCanvas(bitmap.width, bitmap.height);
      bitmap.close();
      colour(tile);
    }
    if (partial) {
      tile.again = performance.now() + AGAIN;
      setTimeout(draw, AGAIN + 20);
    }
    if (tiles.has(key)) drop(tiles.get(key));
    tiles.delete(key);
    tiles.set(key, tile);
    held += tile.bytes;
    for (const [oldest, one] of tiles) {
      if (held <= HELD) break;
      drop(one);
      tiles.delete(oldest);
    }
    if (saccade.times.first === undefined) saccade.times.first = performance.now();
  } catch (problem) {
    if (problem.name !== 'AbortError' && opening === state.opening) {
      say(problem instanceof TypeError ? 'the server has ended' : problem.message, true);
      if (!tiles.has(key)) failed.set(key, performance.now());
    }
  } finally {
    if (loading.get(key) === stop) loading.delete(key);
    if (opening === state.opening) { draw(); load(); }
  }
}
const failed = new Map();

// ---- drawing

let planned = false;
function draw() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => { planned = false; frame(); });
}

function frame() {
  const ratio = devicePixelRatio || 1, width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  for (const one of [canvas, sheet]) if (one.width !== width || one.height !== height) { one.width = width; one.height = height; }
  context.clearRect(0, 0, width, height);
  const {image} = state;
  if (!image || !width) return;
  const scale = state.scale * ratio, [rows, columns] = image.size;
  const left = width / 2 - state.x * scale, top = height / 2 - state.y * scale;
  const view = {scale, left, top, width, height};
  const wanted = new Set();
  for (const layer of image.layers) {
    if (!layer.shown || (state.alone && layer.index)) continue;
    if (!layer.opacity) continue;
    if (layer.opacity === 1) drawLayer(context, layer, view, wanted);
    else {
      drawing.clearRect(0, 0, width, height);
      drawLayer(drawing, layer, view, wanted);
      context.globalAlpha = layer.opacity;
      context.drawImage(sheet, 0, 0);
      context.globalAlpha = 1;
    }
  }
  for (const key of waiting.keys()) if (!wanted.has(key)) waiting.delete(key);
  for (const [key, stop] of loading) if (!wanted.has(key)) { stop.abort(); loading.delete(key); }
  load();
  drawScale();
  tell();
  if (!waiting.size && !loading.size && saccade.times.settled === undefined && tiles.size) saccade.times.settled = performance.now();
}

function drawLayer(pen, layer, view, wanted) {
  const {image} = state, [rows, columns] = image.size, {scale} = view;
  // The coarsest tiles that are not coarser than the screen; halfway between two, the coarser, which is smoother.
  const z = clamp(Math.floor(Math.log2(1 / scale) + 0.25), Math.min(layer.least, image.depth), image.depth);
  const span = TILE * 2 ** z;
  const x0 = Math.max(0, Math.floor(-view.left / scale / span)), y0 = Math.max(0, Math.floor(-view.top / scale / span));
  const x1 = Math.min(Math.ceil(columns / span), Math.ceil((view.width - view.left) / scale / span));
  const y1 = Math.min(Math.ceil(rows / span), Math.ceil((view.height - view.top) / scale / span));
  const now = performance.now(), middle = [state.x / span - 0.5, state.y / span - 0.5];
  for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) {
    const key = `${layer.index}/${z}/${x}/${y}`, tile = tiles.get(key);
    wanted.add(key);
    const stale = tile && tile.again && tile.again <= now;
    const given = failed.get(key);
    if ((!tile || stale) && !loading.has(key) && !(given && now - given < 5000)) {
      const rank = Math.hypot(x - middle[0], y - middle[1]) + (stale ? 100 : 0) + layer.index * 0.1;
      waiting.set(key, {key, layer: layer.index, z, x, y, rank});
    }
    if (tile) { tiles.delete(key); tiles.set(key, tile); }
    if (tile && !tile.again) { put(pen, tile, layer, z, x, y, view); continue; }
    above(pen, layer, z, x, y, view);
    if (tile) put(pen, tile, layer, z, x, y, view);
  }
  // The whole image, small, is always at hand for what is not there yet.
  if (z < image.depth) {
    const key = `${layer.index}/${image.depth}/0/0`;
    wanted.add(key);
    if (!tiles.has(key) && !loading.has(key) && !failed.has(key)) {
      waiting.set(key, {key, layer: layer.index, z: image.depth, x: 0, y: 0, rank: -1});
    } else if (tiles.has(key)) { const kept = tiles.get(key); tiles.delete(key); tiles.set(key, kept); }
  }
}

function placeOf(z, x, y, view) {
  const [rows, columns] = state.image.size, span = TILE * 2 ** z, {scale} = view;
  const left = x * span, top = y * span, right = Math.min(left + span, columns), bottom = Math.min(top + span, rows);
  const edges = [view.left + left * scale, view.top + top * scale, view.left + right * scale, view.top + bottom * scale].map(Math.round);
  return {box: [edges[0], edges[1], Math.max(1, edges[2] - edges[0]), Math.max(1, edges[3] - edges[1])], left, top, right, bottom};
}

function put(pen, tile, layer, z, x, y, view) {
  const {box} = placeOf(z, x, y, view);
  pen.imageSmoothingEnabled = !tile.values && box[2] <= tile.picture.width * 1.05;
  pen.drawImage(tile.picture, ...box);
}

// The part of a coarser tile that lies where tile (z, x, y) will.
function above(pen, layer, z, x, y, view) {
  const place = placeOf(z, x, y, view);
  for (let up = 1; z + up <= state.image.depth; up++) {
    const parent = tiles.get(`${layer.index}/${z + up}/${x >> up}/${y >> up}`);
    if (!parent) continue;
    const span = TILE * 2 ** (z + up), [rows, columns] = state.image.size;
    const left = (x >> up) * span, top = (y >> up) * span;
    const across = parent.picture.width / (Math.min(left + span, columns) - left);
    const down = parent.picture.height / (Math.min(top + span, rows) - top);
    pen.imageSmoothingEnabled = !parent.values;
    pen.drawImage(parent.picture, (place.left - left) * across, (place.top - top) * down,
      (place.right - place.left) * across, (place.bottom - place.top) * down, ...place.box);
    return;
  }
}

function drawScale() {
  const metres = state.image.pixel_metres ? state.image.pixel_metres[1] : 0;
  const one = (metres || 1) / state.scale, most = one * 140, power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map(step => step * power).find(step => step <= most) || power;
  $('scale').firstElementChild.style.width = `${length / one}px`;
  $('scale').lastElementChild.textContent = metres ? amount(length, 'm') : `${Number(length.toPrecision(2))} px`;
}

// What lies under the cursor: pixel, place on the map, classes and degrees.
function tell() {
  const {image, cursor} = state;
  if (!image || !cursor) { $('where').textContent = ''; return; }
  const x = state.x + (cursor[0] - canvas.clientWidth / 2) / state.scale, y = state.y + (cursor[1] - canvas.clientHeight / 2) / state.scale;
  const [rows, columns] = image.size;
  if (x < 0 || y < 0 || x >= columns || y >= rows) { $('where').textContent = ''; return; }
  const lines = [`row ${Math.floor(y)}, column ${Math.floor(x)}`];
  if (image.transform) {
    const [a, b, c, d, e, f] = image.transform, east = a * x + b * y + c, north = d * x + e * y + f;
    const digits = image.unit === '°' ? 6 : 2;
    lines.push(`${east.toFixed(digits)}${image.unit}, ${north.toFixed(digits)}${image.unit}${image.crs ? ` (${image.crs})` : ''}`);
  }
  let here = null;
  for (const layer of image.layers) {
    if (!layer.table || !layer.shown || layer.kind === 'points') continue;
    const value = valueAt(layer, x, y);
    if (value === null) continue;
    if (layer.kind === 'classes') {
      lines.push(`${layer.name}: ${className(value)}`);
      here = here === null ? value : here;
    }
    if (layer.kind === 'degrees' && value < 255) lines.push(`${layer.name}: ${Math.round(value / 2.54)} of 100`);
  }
  $('where').textContent = lines.join('\n');
  for (const row of $('class-rows').children) row.classList.toggle('here', Number(row.dataset.value) === here);
}

function valueAt(layer, x, y) {
  const {image} = state, [rows, columns] = image.size;
  for (let z = 0; z <= image.depth; z++) {
    const span = TILE * 2 ** z, across = Math.floor(x / span), down = Math.floor(y / span);
    const tile = tiles.get(`${layer.index}/${z}/${across}/${down}`);
    if (!tile || !tile.values) continue;
    const wide = Math.min(span, columns - across * span), high = Math.min(span, rows - down * span);
    const column = Math.min(tile.picture.width - 1, Math.floor((x - across * span) * tile.picture.width / wide));
    const row = Math.min(tile.picture.height - 1, Math.floor((y - down * span) * tile.picture.height / high));
    return tile.values[row * tile.picture.width + column];
  }
  return null;
}

// ---- moving

function whole() {
  const [rows, columns] = state.image.size;
  return Math.min(canvas.clientWidth / columns, canvas.clientHeight / rows) || 1;
}
function least() { return Math.min(whole() / 2, 1); }

function fit() {
  const [rows, columns] = state.image.size;
  Object.assign(state, {x: columns / 2, y: rows / 2, scale: whole() * 0.98});
  look();
  draw();
}

function zoom(factor, at) {
  if (!state.image) return;
  const [px, py] = at || [canvas.clientWidth / 2, canvas.clientHeight / 2];
  const dx = px - canvas.clientWidth / 2, dy = py - canvas.clientHeight / 2;
  const before = state.scale;
  state.scale = clamp(before * factor, least(), 64);
  state.x += dx / before - dx / state.scale;
  state.y += dy / before - dy / state.scale;
  keep();
}

function move(dx, dy) {
  if (!state.image) return;
  state.x -= dx / state.scale;
  state.y -= dy / state.scale;
  keep();
}

function keep() {
  const [rows, columns] = state.image.size;
  state.x = clamp(state.x, 0, columns);
  state.y = clamp(state.y, 0, rows);
  look();
  draw();
}

// The address keeps the place, so that it can be kept and gone back to.
let noting = 0;
function look() {
  clearTimeout(noting);
  noting = setTimeout(() => {
    if (!state.image) return;
    const {number, x, y, scale} = state;
    history.replaceState(null, '', `#i=${number}&x=${x.toFixed(1)}&y=${y.toFixed(1)}&s=${scale.toPrecision(5)}`);
  }, 300);
}

function read(hash) {
  const parts = Object.fromEntries(new URLSearchParams(hash.slice(1)));
  const numbers = Object.fromEntries(Object.entries(parts).map(([key, value]) => [key, Number(value)]));
  return Object.values(numbers).every(Number.isFinite) && numbers.s > 0 ? numbers : {i: Math.floor(numbers.i) || 0};
}

const fingers = new Map();
canvas.onpointerdown = event => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
  canvas.classList.add('moving');
  canvas.focus({preventScroll: true});
};
canvas.onpointermove = event => {
  const at = [event.offsetX, event.offsetY], before = fingers.get(event.pointerId);
  state.cursor = at;
  if (!before) { if (state.image) tell(); return; }
  if (fingers.size === 1) move(at[0] - before[0], at[1] - before[1]);
  else if (fingers.size === 2) {
    const [, other] = [...fingers].find(([id]) => id !== event.pointerId);
    const far = point => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    move((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    zoom(far(at) / far(before), [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2]);
  }
  fingers.set(event.pointerId, at);
};
canvas.onpointerup = canvas.onpointercancel = event => {
  fingers.delete(event.pointerId);
  if (!fingers.size) canvas.classList.remove('moving');
};
canvas.onpointerleave = () => { state.cursor = null; tell(); };
canvas.ondblclick = event => zoom(2, [event.offsetX, event.offsetY]);
canvas.addEventListener('wheel', event => {
  event.preventDefault();
  const step = event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
  zoom(2 ** (-clamp(step, -240, 240) / 240), [event.offsetX, event.offsetY]);
}, {passive: false});

// ---- keys and buttons

const KEYS = [
  ['arrows', 'move (with shift: a whole view)'], ['+  −', 'zoom'], ['0', 'whole image'], ['1', 'one pixel a pixel'],
  ['shift 1 … 9', 'show or hide a layer'], ['space', 'the image alone, and back'], ['n  b', 'next, previous place of errors'],
  ['.  ,', 'next, previous image'], ['p', 'panel'], ['f', 'full screen'], ['?', 'this list'],
];
$('key-list').append(...KEYS.flatMap(([key, text]) => [make('dt', {}, make('kbd', {textContent: key})), make('dd', {textContent: text})]));

function neighbour(step) {
  const shown = [...$('list').querySelectorAll('button')].map(button => Number(button.dataset.number));
  if (shown.length < 2) return;
  const at = shown.indexOf(state.number);
  open(shown[(at + step + shown.length) % shown.length]);
}

function togglePanel() {
  const closed = document.body.classList.toggle('closed');
  $('panel-toggle').setAttribute('aria-expanded', !closed);
  draw();
}

function one() { state.scale = 1 / (devicePixelRatio || 1); keep(); }

function help() { if ($('help').open) $('help').close(); else $('help').showModal(); }

document.addEventListener('keydown', event => {
  const target = event.target, typing = target.matches('input[type=search], #goto, input[type=range]');
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !state.image) return;
  if (target.matches('button, input, a') && (event.key === ' ' || event.key === 'Enter')) return;
  const digit = /^Digit([1-9])$/.exec(event.code);
  const far = event.shiftKey ? 0.9 : 0.2, w = canvas.clientWidth * far, h = canvas.clientHeight * far;
  const inPanel = target.closest && target.closest('#panel') && event.key.startsWith('Arrow');
  if (inPanel) return;
  if (event.shiftKey && digit) {
    const layer = state.image.layers[digit[1] - 1];
    if (layer) show(layer.index, !layer.shown);
  } else if (event.key === 'ArrowLeft') move(w, 0);
  else if (event.key === 'ArrowRight') move(-w, 0);
  else if (event.key === 'ArrowUp') move(0, h);
  else if (event.key === 'ArrowDown') move(0, -h);
  else if (event.key === '+' || event.key === '=') zoom(1.5);
  else if (event.key === '-') zoom(1 / 1.5);
  else if (event.key === '0') fit();
  else if (event.key === '1') one();
  else if (event.key === ' ') { state.alone = !state.alone; draw(); }
  else if (event.key === 'n') jump(1);
  else if (event.key === 'b') jump(-1);
  else if (event.key === '.') neighbour(1);
  else if (event.key === ',') neighbour(-1);
  else if (event.key === 'p') togglePanel();
  else if (event.key === 'f') document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
  else if (event.key === '?') help();
  else return;
  event.preventDefault();
});

$('in').onclick = () => zoom(1.5);
$('out').onclick = () => zoom(1 / 1.5);
$('fit').onclick = () => state.image && fit();
$('one').onclick = () => state.image && one();
$('keys').onclick = help;
$('panel-toggle').onclick = togglePanel;
$('next').onclick = () => jump(1);
$('previous').onclick = () => jump(-1);
$('filter').oninput = fillList;
$('go').onsubmit = event => {
  event.preventDefault();
  const words = $('goto').value.match(/-?\d+(\.\d+)?(e[+-]?\d+)?/gi), {image} = state;
  if (!image || !words || words.length < 2) { say('two numbers are expected: x, y'); return; }
  let [x, y] = words.map(Number);
  if (image.transform && !/px/.test($('goto').value)) {
    const [a, b, c, d, e, f] = image.transform, area = a * e - b * d;
    [x, y] = [(e * (x - c) - b * (y - f)) / area, (a * (y - f) - d * (x - c)) / area];
  }
  const [rows, columns] = image.size;
  if (!(x >= 0 && y >= 0 && x < columns && y < rows)) { say('that lies outside of the image'); return; }
  Object.assign(state, {x: x + (image.transform ? 0 : 0.5), y: y + (image.transform ? 0 : 0.5), scale: Math.max(state.scale, 1)});
  keep();
};
new ResizeObserver(draw).observe(canvas);
window.addEventListener('hashchange', () => {
  const place = read(location.hash);
  if (place.s && state.image) {
    if ((place.i || 0) !== state.number) open(clamp(place.i || 0, 0, state.list.length - 1), place);
    else { Object.assign(state, {x: place.x, y: place.y, scale: place.s}); keep(); }
  }
});
start().catch(problem => say(problem.message, true));
