// The page for people. Masks come as run lengths in one request a picture and network; colours, legend, strength and divider are
// drawn here, so that none of them asks the server again.
'use strict';

const $ = (id) => document.getElementById(id);
const stage = $('stage'), canvas = $('canvas'), context = canvas.getContext('2d');

/** Pictures of this tab: {name, blob, bitmap, results: Map of network and options to a result}. */
const pictures = [];
const view = { at: -1, hidden: new Set(), alone: null, colours: true };
let models = [], camera = null, token = sessionStorage.getItem('token') || '', asked = 0;

// ---- The server ----

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) {
    token = await askForToken();
    return ask(path, options);
  }
  if (!answer.ok) {
    const kind = answer.headers.get('content-type') || '';
    const told = kind.includes('json') ? await answer.json() : { what: await answer.text() };
    const parts = [told.what, told.where, told.remedy].filter(Boolean);
    throw new Error(parts.join(' · ') || `${answer.status} ${answer.statusText}`);
  }
  return answer;
}

function askForToken() {
  const dialog = $('ask');
  return new Promise((resolve) => {
    dialog.onclose = () => {
      sessionStorage.setItem('token', $('token').value);
      resolve($('token').value);
    };
    if (!dialog.open) dialog.showModal();
  });
}

/** COCO's compressed run lengths, column by column, set into a map of ids. */
function draw(ids, [height, width], text, id) {
  const counts = [];
  for (let i = 0; i < text.length;) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const bits = text.charCodeAt(i++) - 48;
      value |= (bits & 31) << shift;
      more = (bits & 32) !== 0;
      shift += 5;
      if (!more && bits & 16) value |= -1 << shift;
    }
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
  }
  let at = 0;
  counts.forEach((count, i) => {
    if (i % 2) for (let p = at; p < at + count; p++) ids[(p % height) * width + Math.floor(p / height)] = id;
    at += count;
  });
}

async function segment(picture, model) {
  const query = new URLSearchParams({ model, output: 'json', polygons: 'false', probability: 'true' });
  if ($('tta').checked) query.set('tta', 'flip');
  const key = query.toString();
  if (picture.results.has(key)) return picture.results.get(key);
  const start = performance.now();
  const answer = await ask(`/v1/segment?${query}`, { method: 'POST', body: picture.blob });
  const told = await answer.json();
  const result = { ...told, model, all: performance.now() - start, ids: new Uint8Array(told.width * told.height).fill(255) };
  for (const found of told.classes) draw(result.ids, found.rle.size, found.rle.counts, found.id);
  const sure = await createImageBitmap(await (await fetchData(told.probability)).blob());
  const paper = new OffscreenCanvas(told.width, told.height).getContext('2d', { willReadFrequently: true });
  paper.drawImage(sure, 0, 0);
  result.sure = paper;
  picture.results.set(key, result);
  return result;
}

const fetchData = async (text) =>
  new Response(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), { headers: { 'content-type': 'image/png' } });

// ---- Drawing ----

const isShown = (id) => (view.alone === null ? !view.hidden.has(id) : view.alone === id);

/** The classes' colours on nothing, as strong as the slider says. */
function coloured(result) {
  const colours = new Map(result.classes.map((found) => [found.id, found.color]));
  const image = new ImageData(result.width, result.height);
  const strength = view.colours ? Math.round(2.55 * $('alpha').value) : 0;
  for (let i = 0; i < result.ids.length; i++) {
    const id = result.ids[i], colour = colours.get(id);
    if (!colour || !isShown(id) || isGround(result, id)) continue;
    image.data.set(colour, 4 * i);
    image.data[4 * i + 3] = strength;
  }
  const paper = new OffscreenCanvas(result.width, result.height);
  paper.getContext('2d').putImageData(image, 0, 0);
  return paper;
}

/** Background is not coloured, unless it is looked at alone. */
function isGround(result, id) {
  const name = (result.classes.find((found) => found.id === id) || {}).name;
  return id === 0 && ['background', '__background__'].includes(name) && view.alone !== 0;
}

function paint() {
  const picture = pictures[view.at];
  if (!picture) return;
  const [width, height] = [picture.bitmap.width, picture.bitmap.height];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.clearRect(0, 0, width, height);
  context.drawImage(picture.bitmap, 0, 0);
  const { left, right } = picture;
  if (left) picture.leftDrawn = coloured(left);
  if (right) picture.rightDrawn = coloured(right);
  const split = right ? Math.round((width * $('divider').value) / 100) : width;
  if (left && split > 0) context.drawImage(picture.leftDrawn, 0, 0, split, height, 0, 0, split, height);
  if (right && split < width) {
    context.drawImage(picture.rightDrawn, split, 0, width - split, height, split, 0, width - split, height);
    context.fillStyle = '#fff';
    context.fillRect(split - 1, 0, Math.max(2, width / 400), height);
  }
  canvas.hidden = false;
  $('empty').hidden = true;
}

function legend() {
  const picture = pictures[view.at], result = picture && picture.left;
  $('no-classes').hidden = Boolean(result);
  $('all-row').hidden = !result;
  const focused = document.activeElement && document.activeElement.dataset.focus;
  $('legend').replaceChildren(...(result ? result.classes : []).map((found) => {
    const item = document.createElement('li'), toggle = document.createElement('button'), only = document.createElement('button');
    const swatch = document.createElement('canvas'), name = document.createElement('span'), share = document.createElement('span');
    swatch.className = 'swatch';
    Object.assign(swatch, { width: 16, height: 16 });
    const ink = swatch.getContext('2d');
    ink.fillStyle = `rgb(${found.color.join()})`;
    ink.fillRect(0, 0, 16, 16);
    swatch.setAttribute('aria-hidden', 'true');
    name.className = 'name';
    name.textContent = found.name;
    share.className = 'share';
    share.textContent = `${(100 * found.share).toFixed(1)} %`;
    toggle.className = 'class';
    toggle.setAttribute('aria-pressed', isShown(found.id));
    toggle.dataset.focus = `t${found.id}`;
    toggle.append(swatch, name, share);
    toggle.onclick = () => toggleClass(found.id);
    only.className = 'quiet';
    only.textContent = 'only';
    only.dataset.focus = `o${found.id}`;
    only.setAttribute('aria-label', `Only ${found.name}`);
    only.setAttribute('aria-pressed', view.alone === found.id);
    only.onclick = () => isolate(found.id);
    item.append(toggle, only);
    return item;
  }));
  if (focused) document.querySelector(`[data-focus="${focused}"]`)?.focus();
  document.querySelectorAll('[data-save]').forEach((button) => { button.disabled = !result; });
}

function toggleClass(id) {
  if (view.alone !== null) view.alone = null;
  else if (!view.hidden.delete(id)) view.hidden.add(id);
  renew();
}

function isolate(id) {
  view.alone = view.alone === id ? null : id;
  renew();
}

function renew() {
  paint();
  legend();
  keep();
}

// ---- Pictures ----

async function show(at) {
  const picture = pictures[at];
  if (!picture) return;
  view.at = at;
  const mine = ++asked;
  $('problem').hidden = true;
  stage.setAttribute('aria-label', picture.name);
  strip();
  renew();
  stage.classList.add('busy');
  try {
    const [left, right] = await Promise.all([$('model').value, $('other').value].map((model) => (model ? segment(picture, model) : null)));
    Object.assign(picture, { left, right });
    // Another picture may have been chosen meanwhile.
    if (mine !== asked) return;
    const main = left.classes.slice(0, 3).map((found) => `${found.name} ${(100 * found.share).toFixed(0)} %`);
    stage.setAttribute('aria-label', `${picture.name}: ${main.join(', ')}`);
    $('say').textContent = `${picture.name} · ${left.width}×${left.height} · ${main.join(', ')} · network ${left.milliseconds.network.toFixed(0)} ms, all ${left.all.toFixed(0)} ms`;
    renew();
  } catch (error) {
    if (mine === asked) complain(`${picture.name}: ${error.message}`);
  } finally {
    if (mine === asked) stage.classList.remove('busy');
  }
}

function complain(text) {
  $('problem').textContent = text;
  $('problem').hidden = false;
}

async function add(files) {
  const first = pictures.length;
  for (const file of files) {
    try {
      // As the server sees it: upright.
      const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
      pictures.push({ name: file.name || 'pasted picture', blob: file, bitmap, results: new Map() });
    } catch {
      complain(`${file.name || 'what was pasted'}: this browser cannot show it · JPEG, PNG, WebP, GIF and BMP it can`);
    }
  }
  if (pictures.length > first) await show(first);
}

function strip() {
  const bar = $('strip');
  bar.hidden = pictures.length < 2;
  bar.replaceChildren(...pictures.map((picture, i) => {
    const button = document.createElement('button'), small = document.createElement('canvas');
    const scale = 160 / Math.max(picture.bitmap.width, picture.bitmap.height);
    Object.assign(small, { width: Math.max(1, picture.bitmap.width * scale), height: Math.max(1, picture.bitmap.height * scale) });
    small.getContext('2d').drawImage(picture.bitmap, 0, 0, small.width, small.height);
    button.setAttribute('aria-label', picture.name);
    button.title = picture.name;
    button.setAttribute('aria-current', i === view.at);
    button.append(small);
    button.onclick = () => show(i);
    return button;
  }));
  bar.children[view.at]?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
}

async function toggleCamera() {
  $('problem').hidden = true;
  if (camera) {
    camera.getTracks().forEach((track) => track.stop());
    camera = null;
  } else {
    try {
      camera = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } } });
    } catch (error) {
      complain(`no camera: ${error.message} · browsers give it to pages of https and of this machine alone`);
    }
  }
  $('camera').setAttribute('aria-pressed', Boolean(camera));
  if (!camera) return;
  const video = Object.assign(document.createElement('video'), { srcObject: camera, muted: true, playsInline: true });
  await video.play();
  const live = { name: 'camera', results: new Map() };
  view.at = pictures.push(live) - 1;
  const paper = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
  while (camera) {
    const start = performance.now();
    paper.getContext('2d').drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => paper.toBlob(resolve, 'image/jpeg', 0.85));
    const bitmap = await createImageBitmap(blob);
    try {
      const shot = { name: 'camera', blob, bitmap, results: new Map() };
      const left = await segment(shot, $('model').value);
      Object.assign(live, shot, { left, right: null });
      if (pictures[view.at] !== live) break;
      renew();
      const each = performance.now() - start;
      $('say').textContent = `camera · ${(1000 / each).toFixed(1)} pictures a second · network ${left.milliseconds.network.toFixed(0)} ms, all ${each.toFixed(0)} ms`;
    } catch (error) {
      complain(`camera: ${error.message}`);
      break;
    }
  }
  if (camera) toggleCamera();
  strip();
}

// ---- Downloads ----

async function save(what) {
  const picture = pictures[view.at];
  if (!picture || !picture.left) return;
  const stem = picture.name.replace(/\.[^.]*$/, '');
  try {
    const query = new URLSearchParams({ model: $('model').value, output: what === 'polygons' ? 'json' : what, alpha: $('alpha').value / 100 });
    if ($('tta').checked) query.set('tta', 'flip');
    let blob = await (await ask(`/v1/segment?${query}`, { method: 'POST', body: picture.blob })).blob();
    if (what === 'polygons') {
      const told = JSON.parse(await blob.text());
      const features = told.classes.map((found) => ({
        type: 'Feature',
        properties: { id: found.id, name: found.name, share: found.share },
        // GeoJSON's rings are closed.
        geometry: { type: 'MultiPolygon', coordinates: found.polygons.map((rings) => rings.map((ring) => [...ring, ring[0]])) },
      }));
      blob = new Blob([JSON.stringify({ type: 'FeatureCollection', features })], { type: 'application/geo+json' });
    }
    const ending = { json: 'json', polygons: 'polygons.geojson' }[what] || `${what}.png`;
    const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: `${stem}.${ending}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    $('say').textContent = `${link.download} was downloaded`;
  } catch (error) {
    complain(error.message);
  }
}

// ---- The address ----

function keep() {
  const state = new URLSearchParams({ model: $('model').value, alpha: $('alpha').value });
  if ($('other').value) state.set('other', $('other').value);
  if ($('tta').checked) state.set('tta', 'flip');
  if (view.hidden.size) state.set('hidden', [...view.hidden].join());
  if (view.alone !== null) state.set('only', view.alone);
  if (view.at > 0) state.set('picture', view.at + 1);
  history.replaceState(null, '', `#${state}`);
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  const has = (name) => models.some((model) => model.name === name);
  if (has(state.get('model'))) $('model').value = state.get('model');
  if (has(state.get('other'))) $('other').value = state.get('other');
  if (state.has('alpha')) $('alpha').value = state.get('alpha');
  $('tta').checked = state.get('tta') === 'flip';
  view.hidden = new Set((state.get('hidden') || '').split(',').filter(Boolean).map(Number));
  view.alone = state.has('only') ? Number(state.get('only')) : null;
  $('divider-label').hidden = !$('other').value;
}

// ---- The server's state ----

let before = null;
async function status() {
  if ($('server').hidden) return;
  try {
    const told = await (await ask('/v1/status')).json(), now = performance.now();
    const rate = before && (1000 * (told.requests - before.requests - 1)) / (now - before.now);
    before = { requests: told.requests, now };
    const facts = {
      Version: told.version,
      Up: `${Math.floor(told.uptime_s / 60)} min`,
      'Requests a second': rate === null ? '…' : Math.max(0, rate).toFixed(1),
      Waiting: `${told.queue.waiting} of ${told.queue.most}`,
      Working: `${told.workers.busy} of ${told.workers.all}`,
    };
    $('facts').replaceChildren(...Object.entries(facts).map(([name, value]) => {
      const box = document.createElement('div');
      box.append(Object.assign(document.createElement('dt'), { textContent: name }), Object.assign(document.createElement('dd'), { textContent: value }));
      return box;
    }));
    const number = (value) => (value === null ? '–' : value.toFixed(1));
    $('networks').replaceChildren(...told.models.map((model) => {
      const row = document.createElement('tr'), mean = model.mean_ms;
      const cells = [model.name, model.ready ? 'ready' : 'unloaded', model.pictures, model.runs, model.failed, number(mean.queue), number(mean.read), number(mean.network), number(mean.answer)];
      row.append(...cells.map((text) => Object.assign(document.createElement('td'), { textContent: text })));
      return row;
    }));
  } catch (error) {
    $('facts').textContent = `the server does not answer: ${error.message}`;
  }
}

function tab(name) {
  for (const other of ['pictures', 'server']) {
    const chosen = other === name;
    $(other).hidden = !chosen;
    $(`tab-${other}`).setAttribute('aria-selected', chosen);
    $(`tab-${other}`).tabIndex = chosen ? 0 : -1;
  }
  before = null;
  status();
}

// ---- Hands ----

/** The picture's pixel under the pointer. */
function pixel(event) {
  const box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
  const x = Math.floor((event.clientX - box.left - (box.width - scale * canvas.width) / 2) / scale);
  const y = Math.floor((event.clientY - box.top - (box.height - scale * canvas.height) / 2) / scale);
  return x >= 0 && y >= 0 && x < canvas.width && y < canvas.height ? [x, y] : null;
}

stage.addEventListener('pointermove', (event) => {
  const picture = pictures[view.at], at = picture && pixel(event), tip = $('tip');
  const isRight = at && picture.right && at[0] >= (canvas.width * $('divider').value) / 100;
  const result = picture && (isRight ? picture.right : picture.left);
  tip.hidden = !at || !result;
  if (tip.hidden) return;
  const id = result.ids[at[1] * result.width + at[0]];
  const found = result.classes.find((one) => one.id === id);
  const sure = result.sure.getImageData(at[0], at[1], 1, 1).data[0] / 255;
  tip.textContent = found ? `${found.name} · ${(100 * sure).toFixed(0)} %` : 'not looked at';
  const box = stage.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4)}px`;
  tip.style.top = `${Math.min(event.clientY - box.top + 14, box.height - tip.offsetHeight - 4)}px`;
});
// The divider follows a finger or a pressed button.
for (const kind of ['pointerdown', 'pointermove']) stage.addEventListener(kind, (event) => {
  const at = event.buttons && $('other').value && pixel(event);
  if (!at) return;
  $('divider').value = (100 * at[0]) / canvas.width;
  paint();
});
stage.addEventListener('pointerleave', () => { $('tip').hidden = true; });
for (const kind of ['dragenter', 'dragover']) document.addEventListener(kind, (event) => { event.preventDefault(); stage.classList.add('over'); });
for (const kind of ['dragleave', 'drop']) document.addEventListener(kind, (event) => { event.preventDefault(); stage.classList.remove('over'); });
document.addEventListener('drop', (event) => add([...event.dataTransfer.files]));
document.addEventListener('paste', (event) => add([...event.clipboardData.files]));
$('pick').onclick = () => $('file').click();
$('file').onchange = (event) => { add([...event.target.files]); event.target.value = ''; };
$('camera').onclick = toggleCamera;
for (const id of ['alpha', 'divider']) $(id).oninput = () => { view.colours = true; paint(); keep(); };
for (const id of ['model', 'other', 'tta']) $(id).onchange = () => { $('divider-label').hidden = !$('other').value; show(view.at); keep(); };
$('all').onclick = () => { view.hidden.clear(); view.alone = null; renew(); };
$('help-open').onclick = () => $('help').showModal();
for (const button of document.querySelectorAll('[data-save]')) button.onclick = () => save(button.dataset.save);
for (const name of ['pictures', 'server']) $(`tab-${name}`).onclick = () => tab(name);

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  const of = event.target, isInput = ['INPUT', 'SELECT', 'TEXTAREA'].includes(of.tagName);
  if (event.key.startsWith('Arrow') && of.getAttribute('role') === 'tab') {
    const other = of.id === 'tab-server' ? 'pictures' : 'server';
    tab(other);
    $(`tab-${other}`).focus();
    return;
  }
  if (isInput) return;
  const step = (by) => { $('alpha').value = Number($('alpha').value) + by; view.colours = true; paint(); keep(); };
  const digit = /^Digit([1-9])$/.exec(event.code);
  const keys = {
    o: () => $('file').click(), c: toggleCamera, '+': () => step(10), '=': () => step(10), '-': () => step(-10),
    a: () => $('all').onclick(), d: () => save('overlay'), s: () => tab($('server').hidden ? 'server' : 'pictures'),
    '?': () => $('help').showModal(), ArrowLeft: () => show(view.at - 1), ArrowRight: () => show(view.at + 1),
  };
  if (event.key === ' ' && of === stage) keys[' '] = () => { view.colours = !view.colours; paint(); };
  if (digit) {
    const result = pictures[view.at] && pictures[view.at].left, found = result && result.classes[digit[1] - 1];
    if (found) keys[event.key] = () => (event.shiftKey ? isolate(found.id) : toggleClass(found.id));
  }
  const act = keys[event.key] || keys[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

(async () => {
  try {
    models = (await (await ask('/v1/models')).json()).models;
    for (const model of models) for (const id of ['model', 'other']) $(id).append(new Option(model.name, model.name));
    recall();
    legend();
  } catch (error) {
    complain(`the server does not answer: ${error.message}`);
  }
  setInterval(status, 2000);
})();
