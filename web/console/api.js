// The one way to the service: the token, a time limit, and problems as something that can be told in plain words.

import { FIELD_PROBLEMS, LANGUAGE, PROBLEMS } from './texts.js';

/** The service gives up after thirty seconds; who waits longer waits for a broken connection. */
const PATIENCE_MS = 40_000;

const ROOT = '/v1/operator';

/** Who is signed in: `token()`, and `renew()`, which resolves when there is another one. Set by the session. */
let authority = { token: () => null, renew: () => Promise.reject(new Error('nobody is signed in')) };

export function setAuthority(who) {
  authority = who;
}

/**
 * What went wrong: `code` for us; `cause` and `todo` for people. `isOpen` says that nobody knows whether it took effect.
 */
export class Problem extends Error {
  constructor(code, { status = 0, answer = {}, isOpen = false } = {}) {
    const [cause, todo] = PROBLEMS[code] ?? [answer.detail ?? answer.title ?? PROBLEMS.unknown[0], ''];
    super(cause);
    Object.assign(this, { code, status, answer, isOpen, cause, todo });
    // What the service says in particular is more than what we know in general.
    if (answer.detail && !PROBLEMS[code]) this.cause = answer.detail;
    else if (answer.detail && answer.detail !== cause && ['forbidden', 'validation_failed'].includes(code)) this.detail = answer.detail;
  }

  /** What is wrong with a field of the request, if that is it. */
  field(name) {
    const found = this.answer.errors?.find(({ field }) => field === name);
    return found && (FIELD_PROBLEMS[found.code] ?? found.detail ?? this.cause);
  }
}

/** Whether an error only says that the page was left meanwhile. */
export const isGone = (error) => error?.name === 'AbortError';

export const get = (path, options) => call('GET', path, options);
export const post = (path, body, options) => call('POST', path, { ...options, body });

async function call(method, path, options = {}) {
  try {
    return await ask(method, path, options);
  } catch (problem) {
    if (problem.status !== 401 || options.isFirst) throw problem;
    // The form that asked is still open: it goes on when somebody is signed in again.
    await authority.renew(problem);
    return ask(method, path, options);
  }
}

async function ask(method, path, { body, key, signal } = {}) {
  // Amounts are written for people by the service too: in the language of the page, whatever the browser's is.
  const headers = { Accept: 'application/json', 'Accept-Language': LANGUAGE };
  const token = authority.token();
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers['Content-Type'] = 'application/json';
  if (key) headers['Idempotency-Key'] = key;
  const limit = AbortSignal.timeout(PATIENCE_MS);
  let response;
  let answer;
  try {
    response = await fetch(ROOT + path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: 'no-store',
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    answer = await response.json().catch((error) => {
      // A connection that broke off is told as such; a page of some proxy's is no answer of the service.
      if (error.name !== 'SyntaxError') throw error;
      return null;
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem('unreachable', { isOpen: true });
  }
  const { status } = response;
  if (response.ok && answer) return answer;
  if (response.ok) throw new Problem('unknown', { status, isOpen: true });
  const code = answer?.code ?? (status === 401 ? 'unauthorized' : 'unknown');
  // After a fault on the way nobody knows how far it came.
  throw new Problem(code, { status, answer: answer ?? {}, isOpen: status >= 500 });
}

/** A path of the API: each part stands for itself, whatever is in it. */
export const path = (...parts) => `/${parts.map(encodeURIComponent).join('/')}`;

/** The same with a query; what is empty is left out. */
export function withQuery(address, query) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== '');
  return given.length ? `${address}?${new URLSearchParams(given)}` : address;
}

/** The names of plans, by code: from the public catalogue; what is not sold any more is told by its code. */
const names = new Map();

export const planName = (code) => names.get(code) ?? code;
export const planCodes = () => [...names.keys()];

/** Reads the names; without them the pages still work, so nobody waits long. */
export async function loadPlans() {
  const response = await fetch('/v1/plans', { signal: AbortSignal.timeout(3_000) });
  const { data = [] } = await response.json();
  for (const { code, name } of data) names.set(code, name ?? code);
}
