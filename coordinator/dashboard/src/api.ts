// The HTTP API, on the same host as the page, with the cookie of the login.

export interface Me { name: string; role: string; clusters: string[]; coordinator: string; version: string }

/** A refusal with its sentence. */
export class Refused extends Error {
  constructor(readonly code: number, message: string) {
    super(message);
  }
}

async function ask<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  const init: RequestInit = { method, headers: { ...headers }, credentials: 'same-origin' };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    (init.headers as Record<string, string>)['content-type'] = 'application/json';
  }
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, init);
  } catch {
    throw new Refused(0, 'The coordinator does not answer; look whether it runs.');
  }
  if (response.status === 204) return undefined as T;
  const value: unknown = await response.json().catch(() => null);
  if (response.ok) return value as T;
  const said = (value as { error?: string } | null)?.error;
  throw new Refused(response.status, said ?? `The coordinator answers ${response.status}.`);
}

export const me = () => ask<Me>('GET', '/me');
export const login = (token: string) => ask<Me>('POST', '/login', { token });
export const logout = () => ask<void>('POST', '/logout');
export const get = <T>(path: string) => ask<T>('GET', path);

/** An act. A repetition of this very call, by whomever, is the same act. */
export function act(cluster: string, what: string, body: unknown): Promise<{ lines: string[] }> {
  return ask('POST', `/clusters/${cluster}/${what}`, body, { 'Idempotency-Key': crypto.randomUUID() });
}
