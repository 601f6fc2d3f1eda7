// The page of `segmenta serve` in a real browser: a picture is dropped, and everything that a hand or a keyboard can do is done
// and looked at. axe finds nothing wrong with any state. Run as
//
//   npm install && node page.js ../../target/release/segmenta NETWORK PICTURE... [--screenshots FOLDER]
//
// with the browser that CHROMIUM names, or Debian's.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const given = process.argv.slice(2);
const at = given.indexOf('--screenshots');
const folder = at >= 0 ? given.splice(at, 2)[1] : null;
const [binary, network, ...photos] = given;
if (folder) mkdirSync(folder, { recursive: true });

const server = spawn(binary, ['serve', `one=${network}`, `two=${network}`, '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
const address = await new Promise((resolve, reject) => {
  server.stdout.once('data', (line) => resolve(String(line).trim()));
  server.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
});
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
});
const axe = readFileSync(join(fileURLToPath(new URL('.', import.meta.url)), 'node_modules/axe-core/axe.min.js'), 'utf8');

async function look(page, state) {
  if (folder) await page.screenshot({ path: join(folder, `${state}.png`) });
  // The page's own policy forbids scripts of others; axe is given to the browser beside it.
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const told = found.violations.map((one) => `${one.id}: ${one.help}\n  ${one.nodes.map((node) => node.html).join('\n  ')}`);
  assert.deepEqual(told, [], `axe, ${state}`);
  console.log(`ok ${state}`);
}

/** Waits until something holds in the page, asked from outside: its policy forbids what the browser's driver would plant in it. */
async function until(page, holds, argument) {
  const end = Date.now() + 60000;
  while (!(await page.evaluate(holds, argument))) {
    assert.ok(Date.now() < end, `never came: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const drop = (page, files) => page.evaluate(async (files) => {
  const transfer = new DataTransfer();
  for (const { name, base64 } of files) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: name.endsWith('png') ? 'image/png' : 'image/jpeg' }));
  }
  document.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
}, files);

const pixels = (page) => page.evaluate(() => {
  const canvas = document.getElementById('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) >>> 0;
  return sum;
});
const done = (page) => until(page, () => !document.getElementById('stage').classList.contains('busy') && document.querySelectorAll('#legend li').length > 0);
const slide = (page, id, value) => page.evaluate(([id, value]) => {
  const range = document.getElementById(id);
  range.value = value;
  range.dispatchEvent(new Event('input', { bubbles: true }));
}, [id, value]);

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: 'light', acceptDownloads: true });
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
  await page.goto(address);
  await until(page, () => document.querySelectorAll('#model option').length === 2);
  await look(page, 'empty');

  const files = photos.map((path) => ({ name: basename(path), base64: readFileSync(path).toString('base64') }));
  await drop(page, files);
  await done(page);
  await look(page, 'picture');
  const plain = await pixels(page);

  await slide(page, 'alpha', 95);
  assert.notEqual(await pixels(page), plain, 'the slider changes the picture');
  await slide(page, 'alpha', 60);
  assert.equal(await pixels(page), plain);

  // A class that is shown has colour; hidden, it has none; alone, the others have none.
  const classes = page.locator('#legend .class');
  // Background has no colour that could be hidden.
  const names = await page.locator('#legend .name').allInnerTexts();
  const last = names.findLastIndex((name) => !name.includes('background'));
  await classes.nth(last).click();
  assert.equal(await classes.nth(last).getAttribute('aria-pressed'), 'false');
  const without = await pixels(page);
  await page.keyboard.press(`Digit${last + 1}`);
  assert.equal(await pixels(page), plain, 'the key shows the class again');
  await page.locator('#legend .quiet').nth(last).click();
  await look(page, 'alone');
  await page.keyboard.press('a');
  assert.equal(await pixels(page), plain);
  assert.notEqual(without, plain, 'a class can be hidden');

  const box = await page.locator('#stage').boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  assert.match(await page.locator('#tip').innerText(), /\d+ %/);

  if (photos.length > 1) {
    await page.locator('#strip button').nth(1).click();
    await done(page);
    await until(page, (name) => document.getElementById('say').textContent.startsWith(name), basename(photos[1]));
    assert.match(page.url(), /picture=2/);
    await page.locator('h1').click();
    await page.keyboard.press('ArrowLeft');
    await until(page, (name) => document.getElementById('say').textContent.startsWith(name), basename(photos[0]));
  }

  await page.selectOption('#other', 'two');
  await done(page);
  await until(page, () => !document.getElementById('divider-label').hidden);
  await slide(page, 'divider', 30);
  await look(page, 'beside');
  assert.match(page.url(), /other=two/);
  await page.selectOption('#other', '');

  for (const [what, start] of [['mask', '\x89PNG'], ['overlay', '\x89PNG'], ['cutout', '\x89PNG'], ['json', '{"model"'], ['polygons', '{"type"']]) {
    const waiting = page.waitForEvent('download');
    await page.locator(`[data-save=${what}]`).click();
    const file = readFileSync(await (await waiting).path()).toString('latin1');
    assert.ok(file.startsWith(start), `${what}: ${file.slice(0, 20)}`);
  }

  await page.keyboard.press('?');
  await until(page, () => document.getElementById('help').open);
  await look(page, 'keys');
  await page.keyboard.press('Escape');

  await drop(page, [{ name: 'broken.png', base64: files[0].base64.slice(0, 400) }]);
  await until(page, () => !document.getElementById('problem').hidden);
  assert.match(await page.locator('#problem').innerText(), /broken\.png/);
  await look(page, 'problem');

  await page.locator('#tab-server').click();
  await until(page, () => document.querySelectorAll('#networks tr').length === 2);
  await look(page, 'server');
  await page.locator('#tab-pictures').click();

  await page.locator('#camera').click();
  await until(page, () => document.getElementById('say').textContent.includes('pictures a second'));
  await page.locator('#camera').click();

  await page.setViewportSize({ width: 375, height: 740 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 375, `nothing is wider than a telephone: ${wide}`);
  await look(page, 'telephone');
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 1280, height: 800 });
  await look(page, 'dark');

  // The address says what was chosen: another tab begins with it.
  const other = await context.newPage();
  await other.goto(`${address}/#model=two&alpha=25&tta=flip`);
  await until(other, () => document.getElementById('model').value === 'two');
  assert.equal(await other.inputValue('#alpha'), '25');
  assert.ok(await other.isChecked('#tta'));
  assert.deepEqual(wrong, []);
  console.log('all of it');
} finally {
  await browser.close();
  server.kill('SIGTERM');
}
