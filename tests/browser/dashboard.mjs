// A person at the dashboard: logs in, watches a primary die in each cluster, writes and reads notes, looks at it again,
// and lets a primary hand over. Prints one JSON value a line; whoever drives this breaks things when it is `ready`.
// dashboard.mjs URL CERTIFICATE OPERATOR VIEWER PUBLIC FOLDER CLUSTER...
import { strict as assert } from 'node:assert';
import { mkdirSync, readFileSync } from 'node:fs';
import { launch } from 'puppeteer-core';
import { io } from 'socket.io-client';
import { conforms } from './api.mjs';
import { finds, looked } from './checks.mjs';

const [url, certificate, token, viewer, outsider, folder, ...clusters] = process.argv.slice(2);
const say = (step, value = {}) => process.stdout.write(`${JSON.stringify({ step, ...value })}\n`);
const PATIENCE = { timeout: 30_000 };
mkdirSync(folder, { recursive: true });

const browser = await launch({
  executablePath: process.env.CHROMIUM,
  // A browser whose pipe is closed ends, however this program did.
  pipe: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--force-color-profile=srgb', '--hide-scrollbars'],
});
try {
  const page = await browser.newPage();
  const complaints = [];
  page.on('console', (message) => ['error', 'warn'].includes(message.type()) && complaints.push(`${message.text()} ${message.location()?.url ?? ''}`));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(url);
  await loggedIn(page);
  assert.equal(await page.$eval('h1', (it) => it.textContent), 'Clusters');
  await page.waitForFunction((n) => document.querySelectorAll('.row .pill').length === n, PATIENCE, clusters.length);
  // Healthy clusters stand behind each other by name.
  assert.deepEqual(await page.$$eval('.row h2', (all) => all.map((it) => it.textContent)), [...clusters].sort());
  await looked(page, folder, 'clusters');
  for (const cluster of clusters) await watched(page, cluster);
  await noted(page, clusters[0]);
  await operated(page, clusters[0]);
  await planned(page);
  await pressed(page, 'Log out');
  await page.waitForSelector('#token', PATIENCE);
  await page.reload();
  await page.waitForSelector('#token', PATIENCE);
  await limited(page);
  await page.close();
  const refused = complaints.filter((it) => !/status of 401/.test(it));
  assert.deepEqual(refused, [], 'the console complains');
  await conforms(url, certificate, { token, viewer, outsider }, clusters);
  say('done');
} catch (error) {
  // What it looked like when it went wrong.
  for (const [number, page] of (await browser.pages()).entries()) await page.screenshot({ path: `${folder}/failed-${number}.png` });
  throw error;
} finally {
  await browser.close();
}

/** A wrong token is refused with a sentence; the right one is kept by a cookie that scripts do not see. */
async function loggedIn(page) {
  await page.waitForSelector('#token', PATIENCE);
  await finds(page);
  await looked(page, folder, 'login');
  await shows(page, 'wrong');
  await page.waitForFunction(() => document.querySelector('.error')?.textContent.includes('not known here'), PATIENCE);
  await shows(page, token);
  await page.waitForSelector('.row', PATIENCE);
  assert.equal(await page.evaluate(() => document.cookie), '');
  const [cookie] = await browser.cookies();
  assert.ok(cookie.httpOnly && cookie.secure && cookie.sameSite === 'Strict', JSON.stringify(cookie));
  await page.reload();
  await page.waitForSelector('.row', PATIENCE);
}

async function shows(page, token) {
  await page.waitForSelector('#token', PATIENCE);
  await page.click('#token', { count: 3 });
  await page.type('#token', token);
  await page.keyboard.press('Enter');
}

function pressed(page, label) {
  return page.evaluate((label) => [...document.querySelectorAll('button')].find((it) => it.textContent === label).click(), label);
}

/** A viewer is offered no act; the public is shown no name of a server. */
async function limited(page) {
  await page.goto(`${url}/#/${clusters[0]}`);
  await shows(page, viewer);
  await page.waitForSelector('.server', PATIENCE);
  assert.equal(await page.$('.acts'), null);
  await pressed(page, 'Log out');
  await shows(page, outsider);
  await page.waitForFunction((n) => document.querySelectorAll('.row .pill').length === n, PATIENCE, clusters.length);
  await looked(page, folder, 'public');
  const text = await page.$eval('main', (it) => it.textContent);
  assert.ok(!/db\d|127\.|GTID/.test(text), text);
  await pressed(page, 'Log out');
  await page.waitForSelector('#token', PATIENCE);
}

function primary(page) {
  return page.$eval('#primary', (it) => it.textContent);
}

/** Milliseconds that pages waited for a processor so far. */
async function starved() {
  const session = await browser.target().createCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  const waits = processInfo.filter((it) => it.type === 'renderer').map((it) => Number(readFileSync(`/proc/${it.id}/schedstat`, 'utf8').split(' ')[1]));
  return waits.reduce((sum, it) => sum + it, 0) / 1e6;
}

/** The page itself writes down when it shows another primary; what is returned tells it. */
async function awaited(page) {
  await page.evaluate(() => {
    const name = document.querySelector('#primary');
    globalThis.changed = null;
    new MutationObserver(() => { globalThis.changed ??= { name: name.textContent, at: Math.round(performance.timeOrigin + performance.now()) }; })
      .observe(name, { characterData: true, childList: true, subtree: true });
  });
  const before = await starved();
  return async () => {
    await page.waitForFunction(() => globalThis.changed, { ...PATIENCE, polling: 'mutation' });
    return { ...(await page.evaluate(() => globalThis.changed)), waited: Math.round((await starved()) - before) };
  };
}

async function watched(page, cluster) {
  await page.goto(`${url}/#/${cluster}`);
  await page.waitForFunction(() => document.querySelector('.hero .pill')?.textContent === 'All is well', PATIENCE);
  await page.waitForFunction(() => [...document.querySelectorAll('.replicas dd')].some((it) => it.textContent === 'none'), PATIENCE);
  await looked(page, folder, `${cluster}-well`);
  const old = await primary(page);
  const changed = await awaited(page);
  say('ready', { cluster, old });
  say('changed', { cluster, ...(await changed()) });
  await page.waitForFunction(() => document.querySelector('#last-run')?.textContent.includes('finished after'), PATIENCE);
  const bars = await page.$$eval('#last-run .bars li', (all) => all.map((it) => ({ stage: it.dataset.stage, ms: it.querySelector('.bar-ms').textContent })));
  const headline = await page.$eval('#last-run .run', (it) => it.textContent);
  say('waterfall', { cluster, bars, headline });
  await looked(page, folder, `${cluster}-after`);
  // Whoever drives this brings the old one back.
  await page.waitForFunction(() => document.querySelector('.hero .pill')?.textContent === 'All is well', { timeout: 90_000 });
  await replayed(page, cluster, old);
  say('well', { cluster });
}

/** The incident is seen again: the old primary first, the new one at its end. */
async function replayed(page, cluster, old) {
  const now = await primary(page);
  assert.notEqual(now, old);
  // The page itself writes down what it showed: a look from outside comes late on a busy machine.
  await page.evaluate((title) => {
    globalThis.shown = [];
    new MutationObserver(() => {
      const name = document.querySelector('.replay') && document.querySelector('#primary')?.textContent;
      if (name && globalThis.shown.at(-1) !== name) globalThis.shown.push(name);
    }).observe(document.body, { characterData: true, childList: true, subtree: true });
    // A replica that lags on its way home is an incident of its own, and a newer one.
    [...document.querySelectorAll('.incident-head')].find((it) => it.textContent.includes(title)).querySelector('button').click();
  }, `Failover ${old} → ${now}`);
  await page.waitForFunction((now) => globalThis.shown.at(-1) === now, PATIENCE, now);
  assert.deepEqual(await page.evaluate(() => globalThis.shown), [old, now]);
  await looked(page, folder, `${cluster}-replay`);
  await page.evaluate(() => [...document.querySelectorAll('.replay button')].find((it) => it.textContent === 'Back to now').click());
  await page.waitForFunction(() => !document.querySelector('.replay'), PATIENCE);
}

/** The note of another viewer is on the page at once, an own one too, and both are there when one comes back. */
async function noted(page, cluster) {
  await page.goto(`${url}/#/${cluster}`);
  await page.waitForSelector('#note', PATIENCE);
  const other = io(url, { ca: readFileSync(certificate), transports: ['websocket'], auth: { token: viewer } });
  const [hers, his] = ['The fan of db1 <b>failed</b>.', 'It is being replaced.'];
  try {
    const answer = await other.timeout(10_000).emitWithAck('note', { cluster, text: hers });
    assert.ok(answer.ok && answer.id, JSON.stringify(answer));
  } finally {
    other.disconnect();
  }
  const shown = (text) => page.waitForFunction((text) => [...document.querySelectorAll('.said')].some((it) => it.textContent.includes(text)), PATIENCE, text);
  await shown(hers);
  await page.type('#note', his);
  await page.keyboard.press('Enter');
  await shown(his);
  await page.waitForFunction(() => document.querySelector('#note').value === '', PATIENCE);
  await page.reload();
  await shown(hers);
  await shown(his);
  await page.waitForFunction(() => [...document.querySelectorAll('.incident button')].some((it) => it.textContent === 'Replay'), PATIENCE);
  await page.waitForFunction(() => document.querySelector('#last-run .bars'), PATIENCE);
  await looked(page, folder, `${cluster}-notes`);
}

/** A switchover for tomorrow is on the page until it is given up. */
async function planned(page) {
  const submitted = async (settled) => {
    await page.click('.dialog-acts button:last-child');
    await page.waitForFunction(settled, PATIENCE);
  };
  const told = () => page.$eval('.hero .who dd', (it) => it.textContent);
  await pressed(page, 'Switch over …');
  await page.waitForSelector('dialog[open] #at', PATIENCE);
  const tomorrow = new Date(Date.now() + 86_400_000 - new Date().getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  await page.$eval('#at', (field, value) => {
    field.value = value;
    field.dispatchEvent(new Event('input', { bubbles: true }));
  }, tomorrow);
  await page.type('#reason', 'new disks');
  await looked(page, folder, 'planned');
  await submitted(() => document.querySelector('dialog .would, dialog .error'));
  assert.match(await page.$eval('dialog .would, dialog .error', (it) => it.textContent), /nothing was changed/);
  assert.doesNotMatch(await told(), /as .* planned/, 'the dry run has planned nothing');
  await submitted(() => document.querySelector('.dialog-acts button')?.textContent === 'Close');
  await page.waitForFunction(() => / hands over to whoever is best then at .*, as .* planned \(new disks\)/.test(document.querySelector('.hero .who dd').textContent), PATIENCE);
  // One dialog is closed and the next one opened before the browser says so of the first.
  await page.evaluate(() => {
    document.querySelector('dialog').close();
    [...document.querySelectorAll('button')].find((it) => it.textContent === 'Give up the planned switchover …').click();
  });
  await page.waitForSelector('dialog[open] .danger', PATIENCE);
  await submitted(() => document.querySelector('.dialog-acts button')?.textContent === 'Close');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !/ planned \(/.test(document.querySelector('.hero .who dd').textContent), PATIENCE);
}

/** By keyboard alone: a dry run, then the hand-over. */
async function operated(page, cluster) {
  await page.goto(`${url}/#/${cluster}`);
  await page.waitForFunction(() => document.querySelector('.hero .pill')?.textContent === 'All is well', { timeout: 90_000 });
  const old = await primary(page);
  await page.focus('.acts button');
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open] #reason', PATIENCE);
  await page.focus('dialog #reason');
  await page.keyboard.type('new kernel');
  await looked(page, folder, `${cluster}-switchover`);
  await page.focus('dialog #reason');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('dialog .would, dialog .error'), PATIENCE);
  const would = await page.$eval('dialog .would, dialog .error', (it) => it.textContent);
  assert.match(would, /would take over from .*nothing was changed/);
  assert.equal(await primary(page), old);
  const changed = await awaited(page);
  await page.focus('dialog .danger');
  await page.keyboard.press('Enter');
  const shown = await changed();
  await page.waitForFunction(() => document.querySelector('.dialog-acts button')?.textContent === 'Close', PATIENCE);
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog'), PATIENCE);
  say('handed_over', { cluster, old, ...shown });
}
