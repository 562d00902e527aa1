// What a page must be at every size.
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const SIZES = [['laptop', 1280, 720], ['wall', 3840, 2160], ['phone', 390, 844]];

/** Boxes that must not lie over each other, unless one is inside the other. */
const BOXES = '.top > *, .hero, .what > *, .throne > *, .card, .server, .server > *, .outlook, .outlook > *, .bars > li > *, .event > *, '
  + '.incident-head > *, .writer > *, .acts > *, .head > *, .replay > *, .foot, .row > .card, .row-head > *';

/** Runs in the page: what is wrong with its layout. */
function layout(selector) {
  const wrong = [];
  const page = document.scrollingElement;
  if (page.scrollWidth > innerWidth) wrong.push(`the page is ${page.scrollWidth} wide and the window ${innerWidth}`);
  const seen = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && element.checkVisibility({ visibilityProperty: true }) && !element.closest('.hidden');
  };
  const boxes = [...document.querySelectorAll(selector)].filter(seen);
  const called = (element) => `${element.tagName.toLowerCase()}.${[...element.classList].join('.')} "${element.textContent.trim().slice(0, 30)}"`;
  boxes.forEach((one, index) => {
    const a = one.getBoundingClientRect();
    if (a.right > innerWidth + 1) wrong.push(`${called(one)} leaves the window`);
    for (const other of boxes.slice(index + 1)) {
      if (one.contains(other) || other.contains(one)) continue;
      const b = other.getBoundingClientRect();
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && high > 1) wrong.push(`${called(one)} lies over ${called(other)}`);
    }
  });
  for (const element of document.querySelectorAll('h1, h2, h3, button, .pill, .name, .winner, .bar-ms, .server-state')) {
    if (seen(element) && element.scrollWidth > element.clientWidth + 2 && getComputedStyle(element).display !== 'inline') wrong.push(`${called(element)} is cut off`);
  }
  return wrong;
}

async function accessible(page, where) {
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  const serious = found.violations.filter((it) => it.impact === 'serious' || it.impact === 'critical');
  const told = serious.map((it) => `${it.id}: ${it.help}: ${it.nodes.slice(0, 3).map((node) => node.html.slice(0, 120)).join(' | ')}`);
  assert.deepEqual(told, [], `axe at ${where}`);
}

/** The checks find what is planted. */
export async function finds(page) {
  await page.setViewport({ width: 1280, height: 720 });
  const planted = (html, css) => page.evaluate((html, css) => {
    const box = document.createElement('div');
    Object.assign(box.style, css);
    // Not within #app, which is drawn anew every second: axe may take longer than that.
    box.className = 'card planted';
    box.innerHTML = html;
    document.body.append(box);
  }, html, css);
  const removed = () => page.evaluate(() => document.querySelector('.planted').remove());
  await planted('over it', { position: 'absolute', top: '200px', left: '500px', width: '200px', height: '200px' });
  assert.match((await page.evaluate(layout, BOXES)).join(), /lies over/);
  await removed();
  await planted('wide', { width: '2000px' });
  assert.match((await page.evaluate(layout, BOXES)).join(), /the page is \d+ wide/);
  await removed();
  await planted('<img src="/sash.svg">', {});
  await assert.rejects(accessible(page, 'a planted picture'), /image-alt/);
  await removed();
  await accessible(page, 'the same page');
}

/** Looks at the page at each size, in the light and in the dark, and keeps what it looks like. */
export async function looked(page, folder, name) {
  for (const [size, width, height] of SIZES) {
    await page.setViewport({ width, height });
    for (const scheme of ['dark', 'light']) {
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
      await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
      await page.screenshot({ path: `${folder}/${name}-${size}-${scheme}.png` });
      assert.deepEqual(await page.evaluate(layout, BOXES), [], `the layout of ${name} at ${size}, ${scheme}`);
      if (size !== 'wall') await accessible(page, `${name}, ${size}, ${scheme}`);
    }
    const share = await page.evaluate(() => {
      const name = document.querySelector('#primary');
      return name ? parseFloat(getComputedStyle(name).fontSize) / innerHeight : null;
    });
    if (size === 'wall' && share !== null) assert.ok(share >= 1 / 20, `the primary's name is ${share} of the height`);
  }
  await page.setViewport({ width: 1280, height: 720 });
}
