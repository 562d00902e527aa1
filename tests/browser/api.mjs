// Real answers of the HTTP API, held against its own document.
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import Ajv from 'ajv/dist/2020.js';

/** Asks over TLS with the lab's certificate. */
function asking(url, certificate, token) {
  const agent = new Agent({ ca: readFileSync(certificate), keepAlive: true });
  return (method, path, { body, headers = {}, as = token } = {}) => new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const all = { ...(as ? { authorization: `Bearer ${as}` } : {}), ...(text ? { 'content-type': 'application/json' } : {}), ...headers };
    const sent = request(`${url}${path}`, { method, agent, headers: all, timeout: 30_000 }, (response) => {
      let said = '';
      response.setEncoding('utf8').on('data', (part) => { said += part; }).on('end', () => {
        const json = /json/.test(response.headers['content-type'] ?? '');
        resolve({ code: response.statusCode, headers: response.headers, text: said, value: json ? JSON.parse(said) : null });
      });
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer to ${method} ${path}`)));
    sent.on('error', reject).end(text);
  });
}

/** A check of answers against the document. */
function held(document) {
  const ajv = new Ajv({ strict: false, validateFormats: false });
  ajv.addSchema(document, 'openapi');
  return (method, template, answer) => {
    const told = document.paths[template]?.[method.toLowerCase()]?.responses[answer.code];
    assert.ok(told, `${method} ${template} answers ${answer.code}, which the document does not tell: ${answer.text}`);
    if (!told.content) return answer;
    const pointer = `#/paths/${template.replaceAll('~', '~0').replaceAll('/', '~1')}/${method.toLowerCase()}/responses/${answer.code}/content/application~1json/schema`;
    const valid = ajv.getSchema(`openapi${encodeURI(pointer)}`);
    assert.ok(valid, pointer);
    assert.ok(valid(answer.value), `${method} ${template}: ${JSON.stringify(valid.errors?.slice(0, 3))} in ${answer.text.slice(0, 300)}`);
    return answer;
  };
}

export async function conforms(url, certificate, { token, viewer, outsider }, clusters) {
  const ask = asking(url, certificate, token);
  const document = (await ask('GET', '/api/v1/openapi.json', { as: null })).value;
  const holds = held(document);
  const tried = new Set();
  const call = async (method, template, options = {}) => {
    tried.add(`${method} ${template}`);
    const path = template.replace('{cluster}', options.cluster ?? clusters[0]);
    return holds(method, template, await ask(method, `/api/v1${path}${options.query ?? ''}`, options));
  };
  const [cluster] = clusters;
  assert.equal((await call('GET', '/clusters', { as: null })).code, 401);
  assert.equal((await call('GET', '/clusters', { as: 'wrong' })).code, 401);
  assert.deepEqual((await call('GET', '/clusters')).value.map((it) => it.cluster), [...clusters].sort());
  assert.equal((await call('GET', '/me')).value.clusters.length, clusters.length);
  assert.equal((await call('GET', '/clusters/{cluster}')).value.cluster, cluster);
  assert.equal((await call('GET', '/clusters/{cluster}', { cluster: 'none' })).code, 404);
  assert.equal((await call('GET', '/clusters/{cluster}/forecast')).value.guarantee, 'lossless');
  const endpoint = (await call('GET', '/endpoint')).value;
  assert.match(endpoint.url, /^https:\/\/127\./);
  const login = await call('POST', '/login', { as: null, body: { token } });
  const cookie = login.headers['set-cookie'][0].split(';')[0];
  const headers = { cookie };
  assert.equal((await call('GET', '/me', { as: null, headers })).code, 200);
  assert.equal((await call('POST', '/logout', { as: null, headers })).code, 204);
  assert.equal((await call('GET', '/me', { as: null, headers })).code, 401);
  await paused(call);
  await limited(call, viewer, outsider);
  await past(call, outsider);
  for (const body of [{}, { reason: 'x', to: 'DB 1' }, { reason: '', dry_run: true }, { reason: 'x', unknown: 1 }]) {
    assert.equal((await call('POST', '/clusters/{cluster}/switchover', { body })).code, 422, JSON.stringify(body));
  }
  const word = { incident: '00000000000000aa', accept_loss: true, reason: 'x', dry_run: true };
  assert.equal((await call('POST', '/clusters/{cluster}/override', { body: word })).code, 409);
  assert.equal((await call('POST', '/clusters/{cluster}/override', { body: { ...word, accept_loss: false } })).code, 422);
  assert.equal((await call('POST', '/clusters/{cluster}/reclone', { body: { node: 'db9', reason: 'x', dry_run: true } })).code, 409);
  await planned(call);
  const all = Object.entries(document.paths).flatMap(([path, it]) => Object.keys(it).map((method) => `${method.toUpperCase()} ${path}`));
  assert.deepEqual(all.filter((it) => !tried.has(it)), [], 'paths of the document that nobody tried');
  await besides(ask);
}

/** Each role does what it may, and is told what it may not. */
async function limited(call, viewer, outsider) {
  const body = { for_s: 60, reason: 'no' };
  const refused = await call('POST', '/clusters/{cluster}/pause', { as: viewer, body });
  assert.ok(refused.code === 403 && /needs operator/.test(refused.value.error), refused.text);
  assert.equal((await call('POST', '/clusters/{cluster}/pause', { as: viewer, body: { ...body, dry_run: true } })).code, 403);
  assert.equal((await call('GET', '/clusters', { as: viewer })).code, 200);
  for (const path of ['/clusters', '/clusters/{cluster}/forecast']) assert.equal((await call('GET', path, { as: outsider })).code, 403);
  const seen = await call('GET', '/clusters/{cluster}', { as: outsider });
  assert.ok(seen.code === 200 && !/db\d|127\.|0-1-/.test(seen.text), seen.text);
}

/** What happened is told in order, and from any event on; a note joins it; a pause was recorded with its token's name. */
async function past(call, outsider) {
  const events = (await call('GET', '/clusters/{cluster}/history')).value;
  assert.ok(events.some((it) => it.event === 'stage') && events.every((it) => it.id), JSON.stringify(events.slice(0, 2)));
  const act = events.find((it) => it.event === 'act' && it.what.startsWith('pause for 600 s'));
  assert.ok(act?.by === 'ann' && act.address.startsWith('127.'), JSON.stringify(act));
  assert.equal(events.filter((it) => it.event === 'act' && it.what.startsWith('pause')).length, 1);
  const query = (text) => ({ query: text });
  const rest = (await call('GET', '/clusters/{cluster}/history', query(`?since=${events.at(-3).id}&limit=2`))).value;
  assert.deepEqual(rest.map((it) => it.id), events.slice(-2).map((it) => it.id));
  for (const wrong of ['?since=x', '?limit=0', '?limit=x']) assert.equal((await call('GET', '/clusters/{cluster}/history', query(wrong))).code, 422, wrong);
  const { id } = (await call('POST', '/clusters/{cluster}/notes', { body: { text: 'All done.' } })).value;
  const found = (await call('GET', '/clusters/{cluster}/history', query(`?since=${events.at(-1).id}`))).value.find((it) => it.id === id);
  assert.ok(found.event === 'note' && found.text === 'All done.' && found.by === 'ann', JSON.stringify(found));
  assert.equal((await call('POST', '/clusters/{cluster}/notes', { body: { text: ' ' } })).code, 422);
  const incidents = (await call('GET', '/clusters/{cluster}/incidents')).value;
  assert.ok(incidents.some((it) => it.old && it.new && it.old !== it.new && it.to_ms), JSON.stringify(incidents));
  for (const path of ['history', 'incidents']) assert.equal((await call('GET', `/clusters/{cluster}/${path}`, { as: outsider })).code, 403);
}

/** A pause under a key is one pause, however often it is asked for. */
async function paused(call) {
  const pause = (body, key) => call('POST', '/clusters/{cluster}/pause', { body, headers: { 'idempotency-key': key } });
  const wish = { for_s: 600, reason: 'new disks' };
  assert.match((await pause({ ...wish, dry_run: true }, 'dry')).value.lines[0], /nothing was changed/);
  const state = async () => (await call('GET', '/clusters')).value[0].pause;
  assert.equal(await state(), null);
  const [first, second] = await Promise.all([pause(wish, 'once'), pause(wish, 'once')]);
  assert.equal(first.code, 200, first.text);
  assert.deepEqual(second.value, first.value);
  await until(async () => (await state())?.reason === 'new disks');
  const set_at = (await state()).set_at;
  assert.equal((await pause({ ...wish, for_s: 700 }, 'once')).code, 422);
  assert.equal((await call('POST', '/clusters/{cluster}/resume', { body: {} })).code, 200);
  await until(async () => (await state()) === null);
  // Answered as it was, and not paused anew.
  assert.equal((await pause(wish, 'once')).code, 200);
  assert.equal(await state(), null, JSON.stringify(set_at));
}

/** No failover is called for; a switchover is planned, and given up. */
async function planned(call) {
  const failover = await call('POST', '/clusters/{cluster}/failover', { body: { reason: 'x' } });
  assert.ok(failover.code === 409 && /no failover is called for/.test(failover.value.error), failover.text);
  const at = new Date(Date.now() + 3_600_000).toISOString();
  const plan = (body) => call('POST', '/clusters/{cluster}/switchover', { body: { reason: 'new kernel', ...body } });
  const cancel = () => call('POST', '/clusters/{cluster}/cancel-switchover', { body: {} });
  assert.match((await plan({ at, dry_run: true })).value.lines[0], /nothing was changed/);
  assert.equal((await plan({ at: 'tonight' })).code, 422);
  assert.equal((await cancel()).code, 409);
  assert.match((await plan({ at })).value.lines[0], /is planned$/);
  await until(async () => (await call('GET', '/clusters/{cluster}')).value.record.planned?.by === 'ann');
  assert.match((await cancel()).value.lines[0], /is given up/);
}

async function until(holds) {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await holds()) return;
    await new Promise((later) => { setTimeout(later, 50); });
  }
  assert.ok(await holds(), String(holds));
}

/** What is served beside the API. */
async function besides(ask) {
  const anonymous = { as: null };
  assert.equal((await ask('GET', '/healthz', anonymous)).code, 200);
  assert.equal((await ask('GET', '/readyz', anonymous)).text, 'ready\n');
  const metrics = async () => (await ask('GET', '/metrics', anonymous)).text;
  assert.match(await metrics(), /tasuki_cluster_healthy\{cluster="[a-z]+"\} 1/);
  // The browser has left.
  await until(async () => /^tasuki_viewers 0$/m.test(await metrics()));
  assert.equal((await ask('GET', '/api/v1/asyncapi.json', anonymous)).value.asyncapi, '3.0.0');
  for (const [path, holds] of [['/tasuki.d.ts', 'function tasuki('], ['/socket.io/socket.io.js', 'Socket.IO v4'], ['/socket.io/socket.io.esm.min.js', 'Socket.IO v4'], ['/', 'dashboard.js']]) {
    const answer = await ask('GET', path, anonymous);
    assert.ok(answer.code === 200 && answer.text.includes(holds), `${path}: ${answer.code}`);
    assert.match(answer.headers['content-security-policy'], /script-src 'self'; style-src 'self'/);
  }
  const lost = await ask('GET', '/api/v1/nowhere', anonymous);
  assert.ok(lost.code === 404 && lost.value.error.includes('openapi.json'), lost.text);
}
