// The feed's AsyncAPI document, held against the schema that the AsyncAPI initiative publishes, and its references followed.
// documents.mjs ASYNCAPI-FILE
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import Ajv from 'ajv';

const require = createRequire(import.meta.url);
const document = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
const valid = ajv.compile(require('@asyncapi/specs/schemas/3.0.0-without-$id.json'));
assert.ok(valid(document), JSON.stringify(valid.errors?.slice(0, 5), null, 2));

const at = (pointer) => pointer.slice(2).split('/').reduce((place, name) => place?.[name.replaceAll('~1', '/').replaceAll('~0', '~')], document);
let references = 0;
(function follow(value) {
  if (typeof value !== 'object' || value === null) return;
  if (typeof value.$ref === 'string') {
    references += 1;
    assert.ok(value.$ref.startsWith('#/') && at(value.$ref) !== undefined, value.$ref);
  }
  Object.values(value).forEach(follow);
})(document);
assert.ok(references > 300, `${references} references`);

// A sample of each message is what its payload says.
const payloads = new Ajv({ strict: false, validateFormats: false });
payloads.addSchema(document, 'feed');
const payload = (key) => payloads.getSchema(`feed#/components/messages/${key}/payload`);
const samples = {
  closing: { code: 'revoked', why: 'the token is gone; ask for another' },
  refusal: { message: 'a: b; c', data: { code: 'a', sentence: 'b', fix: 'c' } },
  noteAsked: { cluster: 'main', text: 'hello' },
  pauseAsked: { cluster: 'main', for_s: 60, reason: 'disks' },
  answer: { ok: true, id: '7.co1.00c0ffee00c0ffee-12' },
};
for (const [key, sample] of Object.entries(samples)) {
  const holds = payload(key);
  assert.ok(holds(sample), `${key}: ${JSON.stringify(holds.errors)}`);
  assert.ok(!holds({}), `${key} takes anything`);
}
