// The one way to the membership service: address, token, and errors in sentences that a member understands.

const SENTENCES = {
  unauthorized: 'Your sign-in has expired. Please sign in again.',
  invalid_token: 'Your sign-in has expired. Please sign in again.',
  already_held: 'You hold this already.',
  too_many_open_checkouts: 'You have several unfinished purchases. Finish one, or try again in a while.',
  stripe_unavailable: 'The payment service does not answer. Nothing was charged; please try again in a minute.',
  stripe_timeout: 'The payment service is slow to answer. Nothing was charged; please try again in a minute.',
};

/** What went wrong, as a sentence for the member (`message`) and a code for us. */
export class Problem extends Error {
  constructor(message, code, status) {
    super(message);
    this.code = code;
    this.status = status;
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
  try {
    return await ask(method, path, options);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    // The token is too old: its issuer gives another one.
    loading = undefined;
    return ask(method, path, options);
  }
}

async function ask(method, path, { body, key, anonymous }) {
  const { api_base: base, token } = await config();
  const headers = { Accept: 'application/json' };
  if (!anonymous) headers.Authorization = `Bearer ${token}`;
  if (body) headers['Content-Type'] = 'application/json';
  if (key) headers['Idempotency-Key'] = key;
  let response;
  try {
    response = await fetch(base + path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store' });
  } catch {
    throw new Problem('The membership service can’t be reached. Check your connection and try again.', 'unreachable');
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Problem(sentence(answer, response.status), answer.code ?? 'unknown', response.status);
}

function sentence(problem, status) {
  const field = problem.errors?.[0]?.detail;
  const known = SENTENCES[problem.code];
  const said = known ?? field ?? problem.detail;
  if (said) return said;
  if (status >= 500) return 'Something went wrong on our side. Nothing was charged; please try again.';
  return problem.title ?? `The service answered ${status}.`;
}

/** Opens a checkout and gives the address of the page on which to pay. */
export async function buy(order) {
  // The same key until the service has answered: if the connection breaks, trying again can't buy twice.
  const name = `order ${JSON.stringify(order)}`;
  const key = sessionStorage.getItem(name) ?? crypto.randomUUID();
  sessionStorage.setItem(name, key);
  try {
    const { checkout } = await call('POST', '/v1/subscriptions', { body: order, key });
    sessionStorage.removeItem(name);
    if (!checkout.url) throw new Problem('This purchase is already finished. Please try again.', 'finished');
    return checkout.url;
  } catch (problem) {
    if (problem.status && problem.status < 500) sessionStorage.removeItem(name);
    throw problem;
  }
}
