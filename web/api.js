// The one way to the membership service: address, token, and errors in sentences that a member understands.

import { PROBLEMS } from './words.js';

/** How often an order that another request is working on is asked for again, and how long at most between. */
const PATIENCE = 8;
const LONGEST_WAIT_SECONDS = 10;

/** What went wrong, as a sentence for the member (`message`) and a code for us; `answer` is the problem document. */
export class Problem extends Error {
  constructor(message, code, { status, answer = {}, retryAfter } = {}) {
    super(message);
    Object.assign(this, { code, status, answer, retryAfter });
  }
}

let loading;

/** Where the service is and who is signed in: asked once, and again when the token is too old. */
export function config() {
  loading ??= fetch('config.json').then((response) => {
    if (!response.ok) throw new Problem('This page is not connected to a membership service.', 'no_config');
    return response.json();
  });
  return loading;
}

/** The answer's body, or a Problem. */
export async function call(method, path, options = {}) {
  const response = await send(method, path, options);
  return response.json();
}

/** A file of the service's: it is fetched, as a link would carry no token. */
export async function download(path, type) {
  const response = await send('GET', path, { type });
  return response.blob();
}

async function send(method, path, options) {
  try {
    return await ask(method, path, options);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    // The token is too old: its issuer gives another one.
    loading = undefined;
    return ask(method, path, options);
  }
}

async function ask(method, path, { body, key, anonymous, type = 'application/json' }) {
  const { api_base: base, token } = await config();
  const headers = { Accept: type };
  if (!anonymous) headers.Authorization = `Bearer ${token}`;
  if (body) headers['Content-Type'] = 'application/json';
  if (key) headers['Idempotency-Key'] = key;
  let response;
  try {
    response = await fetch(base + path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store' });
  } catch {
    throw new Problem('The membership service can’t be reached. Check your connection and try again.', 'unreachable');
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get('Retry-After')) || undefined;
  const status = response.status;
  throw new Problem(sentence(answer, status), answer.code ?? 'unknown', { status, answer, retryAfter });
}

function sentence(problem, status) {
  const field = problem.errors?.[0]?.detail;
  const said = PROBLEMS[problem.code] ?? field ?? problem.detail;
  if (status >= 500) return PROBLEMS[problem.code] ?? 'Something went wrong on our side. Try again in a minute.';
  return said ?? problem.title ?? `The service answered ${status}.`;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

/** Opens a checkout and gives the address of the page on which to pay. */
export async function buy(order) {
  // The same key until the service has answered: if the connection breaks, trying again can't buy twice.
  const name = `order ${JSON.stringify(order)}`;
  const key = sessionStorage.getItem(name) ?? crypto.randomUUID();
  sessionStorage.setItem(name, key);
  for (let tries = 1; ; tries += 1) {
    try {
      const { checkout } = await call('POST', '/v1/subscriptions', { body: order, key });
      sessionStorage.removeItem(name);
      if (!checkout.url) throw new Problem('That purchase is finished already. Look at what is yours.', 'finished');
      return checkout.url;
    } catch (problem) {
      if (problem.code === 'in_progress' && tries < PATIENCE) {
        // Another request, a tab of hers perhaps, has the same order in hand: its answer is ours too.
        await pause(Math.min(problem.retryAfter ?? 1, LONGEST_WAIT_SECONDS));
        continue;
      }
      if (problem.status && problem.status < 500) sessionStorage.removeItem(name);
      throw problem;
    }
  }
}
