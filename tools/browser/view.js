// The page of `segmenta view` in a real browser, over a data set that is made here: seventy pictures, of which one has a mask of
// another size and one cannot be read. axe finds nothing wrong with any state. Run as
//
//   npm install && node view.js ../../target/release/segmenta [--screenshots FOLDER]
//
// with the browser that CHROMIUM names, or Debian's.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import { chromium } from 'playwright-core';

const given = process.argv.slice(2);
const at = given.indexOf('--screenshots');
const folder = at >= 0 ? given.splice(at, 2)[1] : null;
const [binary] = given;
if (folder) mkdirSync(folder, { recursive: true });

/** A PNG of 8 bits: one channel is grey, three are colours. */
function png(width, height, channels, value) {
  const rows = Buffer.alloc(height * (1 + width * channels));
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    rows.set(value(x, y), y * (1 + width * channels) + 1 + x * channels);
  }
  const chunk = (kind, data) => {
    const length = Buffer.alloc(4), sum = Buffer.alloc(4), body = Buffer.concat([Buffer.from(kind), data]);
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, channels === 1 ? 0 : 2], 8);
  const mark = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([mark, chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

const room = mkdtempSync(join(tmpdir(), 'view-')), set = join(room, 'streets');
for (const part of ['images', 'masks']) mkdirSync(join(set, part), { recursive: true });
writeFileSync(join(set, 'classes.txt'), 'sky\nroad\ncar\n');
const COLOURS = [[150, 190, 230], [105, 105, 112], [185, 45, 40]];
for (let i = 0; i < 70; i++) {
  const [width, height] = i % 4 ? [240, 160] : [150, 200], edge = height * (0.4 + 0.004 * i), car = 20 + 1.5 * i;
  const id = (x, y) => (y > edge + 10 && y < edge + 40 && Math.abs(x - car) < 25 ? 2 : y > edge ? 1 : 0);
  const picture = png(width, height, 3, (x, y) => COLOURS[id(x, y)].map((c) => c + ((x * 7 + y * 13) % 11)));
  const name = `${String(i).padStart(2, '0')} é.png`;
  writeFileSync(join(set, 'images', name), i === 66 ? picture.subarray(0, 80) : picture);
  writeFileSync(join(set, 'masks', name), png(width, i === 64 ? height - 9 : height, 1, (x, y) => [y < 3 ? 255 : id(x, y)]));
}

const server = spawn(binary, ['view', set, '--no-open'], { stdio: ['ignore', 'pipe', 'inherit'] });
const address = await new Promise((resolve, reject) => {
  server.stdout.once('data', (line) => resolve(String(line).trim()));
  server.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
});
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] });
const axe = readFileSync(join(fileURLToPath(new URL('.', import.meta.url)), 'node_modules/axe-core/axe.min.js'), 'utf8');

async function look(page, state) {
  if (folder) await page.screenshot({ path: join(folder, `view-${state}.png`) });
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
    assert.ok(Date.now() < end, `never came: ${holds} ${argument ?? ''}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const at_picture = (page, name) => until(page, (name) =>
  !document.getElementById('stage').classList.contains('busy') && document.getElementById('say').textContent.startsWith(name), name);
const pixels = (page) => page.evaluate(() => {
  const canvas = document.getElementById('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) >>> 0;
  return sum;
});

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  // A mask of another size is answered with 422, which the browser notes by itself.
  page.on('console', (message) => message.type() === 'error' && !message.text().includes('422') && wrong.push(message.text()));
  await page.goto(address);
  await until(page, () => document.querySelectorAll('#findings > li').length === 2);
  await at_picture(page, '00 é');
  assert.equal(await page.locator('#strip button').count(), 60, 'a page of the list, not all of it');
  await look(page, 'overlay');
  const plain = await pixels(page);

  await page.selectOption('#mode', 'beside');
  assert.notEqual(await pixels(page), plain);
  await look(page, 'beside');
  await page.selectOption('#mode', 'overlay');
  assert.equal(await pixels(page), plain);
  await page.locator('h1').click();
  await page.keyboard.press('Digit2');
  assert.notEqual(await pixels(page), plain, 'a class is hidden by its key');
  await page.keyboard.press('a');
  assert.equal(await pixels(page), plain);
  await page.keyboard.press('-');
  assert.notEqual(await pixels(page), plain);
  await page.keyboard.press('+');

  const box = await page.locator('#stage').boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  assert.match(await page.locator('#tip').innerText(), /sky|road|car/);

  await page.keyboard.press('ArrowRight');
  await at_picture(page, '01 é');
  await page.keyboard.press('End');
  await at_picture(page, '69 é');
  assert.equal(await page.locator('#strip button').count(), 10);
  await page.keyboard.press('Home');
  await at_picture(page, '00 é');

  // The next with a problem; what is wrong stands beside it, and its mask is explained.
  await page.keyboard.press('n');
  await at_picture(page, '64 é');
  assert.match(await page.locator('#faults').innerText(), /another size/);
  assert.match(await page.locator('#problem').innerText(), /240|150/);
  await look(page, 'problem');
  await page.locator('#findings button').first().click();
  await at_picture(page, '66 é');
  assert.match(await page.locator('#count').innerText(), /^1 of 1 /);
  assert.ok(await page.locator('#canvas').isHidden(), 'what cannot be read is not drawn');
  assert.match(page.url(), /problem=/);

  await page.selectOption('#problem-filter', '');
  await page.fill('#name-filter', '33');
  await at_picture(page, '33 é');
  await page.fill('#name-filter', 'nothing of the kind');
  await until(page, () => !document.getElementById('empty').hidden);
  await look(page, 'nothing');
  await page.fill('#name-filter', '');
  await at_picture(page, '00 é');

  await page.locator('h1').click();
  await page.keyboard.press('?');
  await until(page, () => document.getElementById('help').open);
  await look(page, 'keys');
  await page.keyboard.press('Escape');

  await page.setViewportSize({ width: 375, height: 740 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 375, `nothing is wider than a telephone: ${wide}`);
  await look(page, 'telephone');
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 1280, height: 800 });
  await look(page, 'dark');

  const other = await context.newPage();
  await other.goto(`${address}/#mode=beside&alpha=25&problem=none&picture=6`);
  await until(other, () => document.getElementById('problem-filter').value === 'none');
  await at_picture(other, '05 é');
  assert.equal(await other.inputValue('#mode'), 'beside');
  assert.deepEqual(wrong, []);
  console.log('all of it');
} finally {
  await browser.close();
  server.kill('SIGTERM');
  rmSync(room, { recursive: true, force: true });
}
