// The page over a data set. Masks come as grey pictures of class ids and are coloured here; the list comes a page at a time, so
// that ten thousand pictures are no more to show than a hundred.
'use strict';

const $ = (id) => document.getElementById(id);
const stage = $('stage'), canvas = $('canvas'), context = canvas.getContext('2d');
const PAGE = 60;
const VOID = 255;

const view = { at: 0, hidden: new Set(), alone: null, colours: true };
/** The data set as the server tells it, and the pages of the filtered list that were brought: page to items. */
let data = null, total = 0, pages = new Map(), shown = null, asked = 0;

// ---- The server ----

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) {
    const kind = answer.headers.get('content-type') || '';
    const told = kind.includes('json') ? await answer.json() : { what: await answer.text() };
    const parts = [told.what, told.where, told.remedy].filter(Boolean);
    throw new Error(parts.join(' · ') || `${answer.status} ${answer.statusText}`);
  }
  return answer;
}

function filters() {
  const query = new URLSearchParams();
  for (const [name, id] of [['problem', 'problem-filter'], ['class', 'class-filter'], ['split', 'split-filter'], ['name', 'name-filter']]) {
    if ($(id).value) query.set(name, $(id).value);
  }
  return query;
}

/** A page of the filtered list; asked for once. */
function page(number) {
  if (!pages.has(number)) {
    const query = filters();
    query.set('from', number * PAGE);
    query.set('count', PAGE);
    const of = pages;
    const coming = ask(`/v1/data/items?${query}`).then((answer) => answer.json()).catch((error) => {
      // The next look asks again.
      of.delete(number);
      throw error;
    });
    pages.set(number, coming);
  }
  return pages.get(number);
}

async function brought(path) {
  const blob = await (await ask(path)).blob();
  return createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
}

async function ids(index) {
  const bitmap = await brought(`/v1/data/items/${index}/mask`);
  const paper = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d', { willReadFrequently: true });
  paper.drawImage(bitmap, 0, 0);
  const rgba = paper.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const all = new Uint8Array(bitmap.width * bitmap.height);
  for (let i = 0; i < all.length; i++) all[i] = rgba[4 * i];
  return all;
}

// ---- Drawing ----

const isShown = (id) => (view.alone === null ? !view.hidden.has(id) : view.alone === id);
const className = (id) => (id === VOID ? 'no class' : data.classes[id] ? data.classes[id].name : `id ${id}`);
const isGround = (id) => id === 0 && data.classes[0] && ['background', '__background__'].includes(data.classes[0].name) && view.alone !== 0;

/** The mask's colours on nothing. Over a picture the background stays as it is; alone it has its colour, and what is no class is grey. */
function coloured(picture, strength, isAlone) {
  const { width, height, labels } = picture;
  const image = new ImageData(width, height), table = new Uint32Array(256), bytes = new Uint8Array(table.buffer);
  for (let id = 0; id < 256; id++) {
    if (id === VOID ? !isAlone : !isShown(id) || (isGround(id) && !isAlone)) continue;
    bytes.set([...(data.classes[id] ? data.classes[id].color : [128, 128, 128]), strength], 4 * id);
  }
  const all = new Uint32Array(image.data.buffer);
  for (let i = 0; i < labels.length; i++) all[i] = table[labels[i]];
  const paper = new OffscreenCanvas(width, height);
  paper.getContext('2d').putImageData(image, 0, 0);
  return paper;
}

function paint() {
  if (!shown) return;
  const { width, height, bitmap, labels } = shown, mode = labels ? $('mode').value : 'picture';
  const isBeside = mode === 'beside', gap = isBeside ? Math.max(2, Math.round(width / 100)) : 0;
  // Wide pictures lie above their masks.
  const isAcross = width <= 1.4 * height;
  const all = isBeside ? (isAcross ? [2 * width + gap, height] : [width, 2 * height + gap]) : [width, height];
  if (canvas.width !== all[0] || canvas.height !== all[1]) [canvas.width, canvas.height] = all;
  context.clearRect(0, 0, ...all);
  if (mode !== 'mask') context.drawImage(bitmap, 0, 0);
  if (mode === 'overlay' && view.colours) context.drawImage(coloured(shown, Math.round(2.55 * $('alpha').value), false), 0, 0);
  shown.second = isBeside ? (isAcross ? [width + gap, 0] : [0, height + gap]) : [0, 0];
  if (mode === 'mask' || isBeside) context.drawImage(coloured(shown, 255, true), ...shown.second);
  canvas.hidden = false;
}

function swatch(colour) {
  const square = document.createElement('canvas');
  square.className = 'swatch';
  Object.assign(square, { width: 16, height: 16 });
  square.setAttribute('aria-hidden', 'true');
  const ink = square.getContext('2d');
  ink.fillStyle = `rgb(${colour.join()})`;
  ink.fillRect(0, 0, 16, 16);
  return square;
}

const element = (name, properties, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

/** The classes of the picture, largest first. */
function present() {
  if (!shown || !shown.labels) return [];
  const counts = new Uint32Array(256);
  for (const id of shown.labels) counts[id]++;
  const all = [...counts.keys()].filter((id) => counts[id]).map((id) => ({ id, share: counts[id] / shown.labels.length }));
  return all.sort((a, b) => b.share - a.share);
}

function legend() {
  const focused = document.activeElement && document.activeElement.dataset.focus;
  const found = shown ? shown.classes : [];
  $('all-row').hidden = !found.length || (!view.hidden.size && view.alone === null);
  $('legend').replaceChildren(...found.map(({ id, share }) => {
    const known = data.classes[id];
    const part = element('span', { className: 'share', textContent: `${(100 * share).toFixed(1)} %` });
    const name = element('span', { className: 'name', textContent: className(id) });
    if (id === VOID) return element('li', { className: 'void' }, swatch([128, 128, 128]), name, part);
    const toggle = element('button', { className: 'class' }, swatch(known ? known.color : [128, 128, 128]), name, part);
    toggle.setAttribute('aria-pressed', isShown(id));
    toggle.dataset.focus = `t${id}`;
    toggle.onclick = () => toggleClass(id);
    const only = element('button', { className: 'quiet', textContent: 'only' });
    only.dataset.focus = `o${id}`;
    only.setAttribute('aria-label', `Only ${className(id)}`);
    only.setAttribute('aria-pressed', view.alone === id);
    only.onclick = () => isolate(id);
    return element('li', {}, toggle, only);
  }));
  if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
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

async function show(at, isAsked = true) {
  if (at < 0 || (at >= total && total > 0)) return;
  const mine = ++asked;
  view.at = at;
  $('problem').hidden = $('tip').hidden = true;
  stage.classList.add('busy');
  try {
    const listed = await page(Math.floor(at / PAGE));
    if (mine !== asked) return;
    total = listed.total;
    counted();
    const item = listed.items[at % PAGE];
    strip(listed);
    // The address, or a list that became shorter, may name a picture past the end.
    if (!item && total) return show(total - 1);
    $('empty').hidden = Boolean(item);
    if (!item) {
      shown = null;
      canvas.hidden = true;
      $('say').textContent = '';
      faults(null);
      legend();
      stage.setAttribute('aria-label', 'No picture');
      return;
    }
    faults(item);
    let complaint = '';
    const [bitmap, labels] = await Promise.all([
      brought(`/v1/data/items/${item.index}/picture`).catch((error) => { complaint = error.message; return null; }),
      item.masked ? ids(item.index).catch((error) => { complaint ||= error.message; return null; }) : null,
    ]);
    if (mine !== asked) return;
    if (complaint) complain(complaint);
    stage.setAttribute('aria-label', item.name);
    if (!bitmap) {
      $('say').textContent = item.name;
      shown = null;
      canvas.hidden = true;
    } else {
      shown = { item, bitmap, width: bitmap.width, height: bitmap.height, labels };
      // A mask that is mended between two requests may have another size.
      if (labels && labels.length !== bitmap.width * bitmap.height) shown.labels = null;
      shown.classes = present();
      const size = item.size || [bitmap.width, bitmap.height];
      const main = shown.classes.slice(0, 3).map(({ id, share }) => `${className(id)} ${(100 * share).toFixed(0)} %`);
      $('say').textContent = [item.name, item.split, size.join('×'), item.masked ? main.join(', ') : 'no mask'].filter(Boolean).join(' · ');
      stage.setAttribute('aria-label', `${item.name}: ${main.join(', ') || 'no mask'}`);
    }
    renew();
    // What comes next is there when it is asked for.
    const next = listed.items[(at % PAGE) + 1];
    if (next && isAsked) {
      new Image().src = `/v1/data/items/${next.index}/picture`;
      if (next.masked) new Image().src = `/v1/data/items/${next.index}/mask`;
    }
  } catch (error) {
    if (mine === asked) complain(error.message);
  } finally {
    if (mine === asked) stage.classList.remove('busy');
  }
}

function complain(text) {
  $('problem').textContent = text;
  $('problem').hidden = false;
}

function counted() {
  const all = data.pictures, at = total ? `${view.at + 1} of ${total}` : 'none';
  $('count').textContent = total === all ? at : `${at} (${all} in all)`;
}

function strip(listed) {
  const bar = $('strip');
  bar.hidden = !listed.items.length;
  $('page-back').disabled = listed.from === 0;
  $('page-on').disabled = listed.from + listed.items.length >= listed.total;
  const key = listed.items.map((item) => `${item.index}${item.findings ? item.findings.length : ''}`).join();
  if (bar.dataset.key !== key) {
    bar.dataset.key = key;
    bar.replaceChildren(...listed.items.map((item, i) => {
      const small = element('img', { src: `/v1/data/items/${item.index}/picture?side=160`, alt: '', loading: 'lazy', decoding: 'async' });
      const button = element('button', { title: item.name }, small);
      small.onerror = () => small.replaceWith(element('span', { className: 'broken', ariaHidden: 'true', textContent: '✕' }));
      const worst = (item.findings || []).map((place) => data.findings[place]).filter(Boolean)[0];
      if (worst) button.classList.add(worst.severity);
      button.setAttribute('aria-label', worst ? `${item.name}, ${worst.severity}: ${worst.words}` : item.name);
      button.onclick = () => show(listed.from + i);
      return button;
    }));
  }
  [...bar.children].forEach((button, i) => button.setAttribute('aria-current', listed.from + i === view.at));
  bar.children[view.at - listed.from]?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
}

/** What is wrong with the picture. */
function faults(item) {
  const found = ((item && item.findings) || []).map((place) => data.findings[place]).filter(Boolean);
  $('faults').replaceChildren(...found.map((finding) =>
    element('li', { className: finding.severity }, element('strong', { textContent: finding.severity }), ` ${finding.words}`,
      element('p', { className: 'faint', textContent: finding.remedy }))));
}

// ---- The check ----

async function summary() {
  data = await (await ask('/v1/data')).json();
  $('title').textContent = `${data.title} · ${data.pictures} pictures${data.masks ? ` · masks are ${data.masks}` : ''}`;
  document.title = `${data.title} · Segmenta`;
  if (!data.check.done) {
    $('check').textContent = `checked ${data.check.pictures} of ${data.pictures} …`;
    setTimeout(() => summary().catch((error) => complain(error.message)), 700);
    return;
  }
  const worst = data.findings.length;
  $('check').textContent = worst ? '' : 'no problems';
  $('findings').replaceChildren(...data.findings.map((finding, place) => {
    const words = `${finding.words} (${finding.count})${finding.detail ? `: ${finding.detail}` : ''}`;
    const head = element('p', { className: 'head' }, element('strong', { textContent: finding.severity }), ` ${words}`);
    const files = element('details', {}, element('summary', { textContent: 'files' }),
      element('ul', {}, ...finding.files.map((file) => element('li', { textContent: file }))));
    const parts = [head, element('p', { className: 'faint', textContent: finding.remedy })];
    if (finding.pictures) {
      const button = element('button', { textContent: 'Show them' });
      button.setAttribute('aria-label', `Show pictures: ${finding.words}`);
      button.onclick = () => { $('problem-filter').value = place; anew(); };
      parts.push(button);
    }
    if (finding.files.length) parts.push(files);
    return element('li', { className: finding.severity }, ...parts);
  }));
  const options = (id, rows) => {
    const chosen = $(id).dataset.wanted || $(id).value;
    $(id).append(...rows.map(([value, text]) => new Option(text, value)));
    $(id).value = chosen;
    if ($(id).selectedIndex < 0) $(id).value = '';
    $(id).disabled = false;
  };
  const marked = data.findings.map((finding, place) => [finding, place]).filter(([finding]) => finding.pictures);
  options('problem-filter', [['any', 'any problem'], ['none', 'no problem'], ...marked.map(([finding, place]) => [place, `${finding.words} (${finding.pictures})`])]);
  const occur = data.classes.filter((known) => known.pictures);
  options('class-filter', occur.map((known) => [known.id, `${known.name} (${known.pictures})`]));
  pages = new Map();
  show(view.at, false);
}

/** Another filter: from the first picture on. */
function anew() {
  pages = new Map();
  total = 0;
  show(0);
}

/** The next picture with a problem, round the end of the list. */
async function nextFault() {
  if (!data.check.done) return;
  for (let step = 1; step <= total; step++) {
    const at = (view.at + step) % total;
    const listed = await page(Math.floor(at / PAGE)), item = listed.items[at % PAGE];
    if (item && item.findings && item.findings.length) return show(at);
  }
  $('say').textContent = 'no other picture of the list has a problem';
}

// ---- The address ----

function keep() {
  const state = new URLSearchParams({ mode: $('mode').value, alpha: $('alpha').value });
  for (const [name, value] of filters()) state.set(name, value);
  if (view.at) state.set('picture', view.at + 1);
  if (view.hidden.size) state.set('hidden', [...view.hidden].join());
  if (view.alone !== null) state.set('only', view.alone);
  history.replaceState(null, '', `#${state}`);
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const name of ['mode', 'alpha']) if (state.has(name)) $(name).value = state.get(name);
  if ($('mode').selectedIndex < 0) $('mode').value = 'overlay';
  // Problems and classes are there once the check is done.
  for (const name of ['problem', 'class']) $(`${name}-filter`).dataset.wanted = state.get(name) || '';
  $('split-filter').value = state.get('split') || '';
  if ($('split-filter').selectedIndex < 0) $('split-filter').value = '';
  $('name-filter').value = state.get('name') || '';
  view.hidden = new Set((state.get('hidden') || '').split(',').filter(Boolean).map(Number));
  view.alone = state.has('only') ? Number(state.get('only')) : null;
  view.at = Math.max(0, (Number(state.get('picture')) || 1) - 1);
}

// ---- Hands ----

stage.addEventListener('pointermove', (event) => {
  const tip = $('tip'), box = canvas.getBoundingClientRect();
  tip.hidden = true;
  if (!shown || !shown.labels) return;
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
  let x = Math.floor((event.clientX - box.left - (box.width - scale * canvas.width) / 2) / scale);
  let y = Math.floor((event.clientY - box.top - (box.height - scale * canvas.height) / 2) / scale);
  if (x >= shown.width) x -= shown.second[0];
  if (y >= shown.height) y -= shown.second[1];
  if (x < 0 || y < 0 || x >= shown.width || y >= shown.height) return;
  const id = shown.labels[y * shown.width + x];
  tip.textContent = id === VOID ? 'no class' : `${className(id)} (${id})`;
  tip.hidden = false;
  const frame = stage.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX - frame.left + 14, frame.width - tip.offsetWidth - 4)}px`;
  tip.style.top = `${Math.min(event.clientY - frame.top + 14, frame.height - tip.offsetHeight - 4)}px`;
});
stage.addEventListener('pointerleave', () => { $('tip').hidden = true; });
$('mode').onchange = renew;
$('alpha').oninput = () => { view.colours = true; paint(); keep(); };
for (const id of ['problem-filter', 'class-filter', 'split-filter']) $(id).onchange = anew;
let typing = 0;
$('name-filter').oninput = () => { clearTimeout(typing); typing = setTimeout(anew, 200); };
$('all').onclick = () => { view.hidden.clear(); view.alone = null; renew(); };
$('help-open').onclick = () => $('help').showModal();
$('page-back').onclick = () => show((Math.floor(view.at / PAGE) - 1) * PAGE);
$('page-on').onclick = () => show((Math.floor(view.at / PAGE) + 1) * PAGE);

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  const of = event.target;
  if (['INPUT', 'SELECT', 'TEXTAREA', 'SUMMARY'].includes(of.tagName)) return;
  const step = (by) => { $('alpha').value = Number($('alpha').value) + by; view.colours = true; paint(); keep(); };
  const next = () => { $('mode').selectedIndex = ($('mode').selectedIndex + 1) % $('mode').length; renew(); };
  const keys = {
    ArrowLeft: () => show(view.at - 1), ArrowRight: () => show(view.at + 1), Home: () => show(0), End: () => show(total - 1),
    n: nextFault, m: next, '+': () => step(10), '=': () => step(10), '-': () => step(-10), a: () => $('all').onclick(),
    f: () => $('name-filter').focus(), '?': () => $('help').showModal(),
  };
  if (event.key === ' ' && of === stage) keys[' '] = () => { view.colours = !view.colours; paint(); };
  const digit = /^Digit([1-9])$/.exec(event.code);
  const found = digit && shown && shown.classes.filter(({ id }) => id !== VOID)[digit[1] - 1];
  if (found) keys[event.key] = () => (event.shiftKey ? isolate(found.id) : toggleClass(found.id));
  const act = keys[event.key] || keys[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

(async () => {
  try {
    data = await (await ask('/v1/data')).json();
    for (const split of data.splits) $('split-filter').append(new Option(split, split));
    $('split-label').hidden = !data.splits.length;
    recall();
    await show(view.at);
    await summary();
  } catch (error) {
    complain(`the server does not answer: ${error.message}`);
  }
})();
